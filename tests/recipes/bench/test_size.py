"""The benchmark of size: every step is a command that does what its name says."""

import json

import pytest
from typer.testing import CliRunner

from anytalk.pipelines import check
from anytalk.pipelines.progress import Quiet
from anytalk.recipes.bench import size
from anytalk.recipes.cli.main import app


@pytest.mark.slow
def test_each_step_is_timed_and_the_dataset_is_whole(tmp_path):
    found = size.bench(256, tmp_path / "size", progress=Quiet())
    assert json.loads(json.dumps(found)) == found
    assert (found["name"], found["rows"], found["value"] > 0) == ("size", 256, True)
    for step in found["steps"].values():
        assert min(step["seconds"], step["cpu_s"], step["peak_mib"]) > 0
    assert list(found["steps"])[:2] == ["plan", "make the first half"]
    report = check(tmp_path / "size" / "dataset", workers=1)
    assert (report.problems, report.rows, report.rejects) == ([], 256, 0)
    assert "go on from half: " in size.text(found)


def test_rows_differ_in_words_up_to_the_most_that_may_be_asked_for(tmp_path):
    size._recipe(tmp_path, 10_000)
    lines = (tmp_path / "pairs.jsonl").read_text().splitlines()
    assert len(set(lines)) == 10_000
    assert len(set(size.WORDS)) == len(size.WORDS)


def test_the_help_says_how_long_it_takes():
    assert "10,000 rows" in " ".join(CliRunner().invoke(app, ["bench", "size", "--help"]).stdout.split())
