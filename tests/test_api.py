"""The names that users import: few, quick to load, and there in every form of install."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import anytalk

ROOT = Path(__file__).resolve().parents[1]
OLD_PATHS = {
    "anytalk.synth.codec": ["load_codec"],
    "anytalk.synth.hearing": ["load_whisper"],
    "anytalk.pipelines": ["build", "check"],
    "anytalk.model": ["MiniOmni"],
    "anytalk.recipes.talk": ["talk"],
}
"""Modules and names that people's scripts stand on."""


def run(code, cwd, *, path):
    """Run Python in another folder, with one folder before all others on its path."""
    command = [sys.executable, "-c", code]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": str(path)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """What a wheel of this tree installs."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    # Built from a copy, so that nothing is left in this tree.
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if not name.startswith(("docs/", "tests/")) and (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*wheel, "--wheel-dir", folder, folder / "source"], check=True, timeout=120)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.parametrize("name", anytalk.__all__)
def test_a_name_that_is_exported_is_there_and_documented(name):
    assert callable(getattr(anytalk, name))
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    snippets = "\n".join(re.findall(r"```python\n(.*?)```", "\n".join(p.read_text() for p in pages), re.DOTALL))
    assert re.search(rf"from anytalk import .*\b{name}\b", snippets), f"no snippet of the docs imports {name}"


def test_what_is_not_exported_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'anytalk' has no attribute 'bild'"):
        anytalk.bild  # noqa: B018
    assert set(anytalk.__all__) <= set(dir(anytalk))


@pytest.mark.parametrize(("module", "names"), OLD_PATHS.items())
def test_older_paths_of_the_same_names_stay(module, names):
    found = __import__(module, fromlist=names)
    assert [getattr(found, name) for name in names] == [getattr(anytalk, name) for name in names]


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    code = "import sys, anytalk; print(sorted({'torch', 'transformers', 'ray', 'pyarrow'} & set(sys.modules)))"
    assert run(code, tmp_path, path=ROOT / ".typing") == "[]"


@pytest.mark.slow
def test_a_wheel_holds_every_name_and_every_file_that_is_read(tmp_path, unpacked):
    code = (
        "import anytalk; from anytalk import MiniOmni, build, check, load_codec, load_whisper, talk;"
        "from anytalk.recipes.shipped import find; find('quickstart', 'build'); find('talker', 'train');"
        "load_codec('bundled'); print(anytalk.__file__)"
    )
    assert run(code, tmp_path, path=unpacked) == str(unpacked / "anytalk" / "__init__.py")


@pytest.mark.slow
def test_rays_workers_take_the_package_from_a_folder_that_is_sent_to_them(tmp_path, unpacked):
    code = f"""
import logging, ray
modules = {{"py_modules": [{str(unpacked / "anytalk")!r}]}}
ray.init("local", include_dashboard=False, num_cpus=1, logging_level=logging.ERROR, runtime_env=modules)
@ray.remote
def where():
    import anytalk
    from anytalk import load_codec
    return anytalk.__file__ + " " + load_codec.__module__.partition(".codec")[0]
print(ray.get(where.remote()))
ray.shutdown()
"""
    place, module = run(code, tmp_path, path=tmp_path).splitlines()[-1].split()
    assert "py_modules_files" in place
    assert module == "anytalk.synth"
