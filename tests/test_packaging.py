"""What a package index, a citation and a container say of the project is what it is."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

RUN_NOTEBOOK = """
import sys
import nbclient, nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
[cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
cell.source = sys.argv[2]
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[3])
"""
SMALL = "CONVERSATIONS, STEPS, LONGEST, OUT = 1, (1, 1, 1), 4, 'out'"


def test_the_version_is_the_changelogs_newest():
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]


def test_every_extra_stands_on_the_installation_page_and_no_other():
    named = set(re.findall(r"`anytalk\[([\w-]+)\]`", (ROOT / "docs" / "install.md").read_text()))
    assert named == set(PROJECT["optional-dependencies"])


def test_the_container_copies_what_the_package_is_made_of():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    assert packages <= copied
    assert all((ROOT / name).exists() for name in copied)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == copied


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    written = tmp_path / "run.ipynb"
    notebook = ROOT / "docs" / "notebooks" / "quickstart.ipynb"
    command = [sys.executable, "-c", RUN_NOTEBOOK, notebook, SMALL, written]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in json.loads(written.read_text())["cells"] if cell["cell_type"] == "code"]
    printed = ["".join(text for out in cell["outputs"] for text in out.get("text", [])) for cell in cells]
    assert "2 rows accepted, 0 rejected" in printed[1]
    assert "heard as:" in printed[2]
    assert sum("text/html" in out.get("data", {}) for out in cells[2]["outputs"]) == 2  # players
    assert printed[3].startswith("3 steps, loss ")


def test_the_notebook_is_kept_without_outputs():
    for cell in json.loads((ROOT / "docs" / "notebooks" / "quickstart.ipynb").read_text())["cells"]:
        assert (cell.get("outputs", []), cell.get("execution_count")) == ([], None)
