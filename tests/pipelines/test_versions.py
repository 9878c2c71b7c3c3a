"""Other versions of engines and libraries: named, refused or mixed, and nobody's work is deleted for them."""

import json
import shutil

import pytest

from anytalk.pipelines import build, check, rejudge
from anytalk.pipelines.dataset import Store, made_with
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import SetupError

pytestmark = pytest.mark.slow

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(12)]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sidecars(folder):
    return sorted((folder / "units").glob("*.json"))


def change(folder, **values):
    """Say of what was made that it was made with something else."""
    path = folder / "plan" / "made-with-000000.json"
    version = json.loads(path.read_text())
    for name, value in values.items():
        section, _, key = name.rpartition("__")
        target = version["made_with"]
        for part in filter(None, section.split("__")):
            target = target[part]
        target[key] = value
    path.write_text(json.dumps(version))


@pytest.fixture
def recipe(fake_recipe, write_jsonl):
    return fake_recipe(source=str(write_jsonl(PAIRS)))


@pytest.fixture
def half(recipe, tmp_path):
    """A dataset of three units, of which the last is missing."""
    build(recipe, tmp_path / "out", local=True)
    last = sidecars(tmp_path / "out")[-1]
    for file in json.loads(last.read_text())["files"]:
        (tmp_path / "out" / file["path"]).unlink()
    last.unlink()
    (tmp_path / "out" / "SHA256SUMS").unlink()
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("values", "theirs", "ours"),
    [
        ({"libraries__soxr": "0.1"}, "soxr 0.1", "soxr "),
        ({"python": "3.1"}, "python 3.1", "python 3."),
        ({"machine": "abacus"}, "machine abacus", "machine "),
        ({"fingerprints__codec__revision": "0"}, "codec.revision 0", "codec.revision 1"),
        ({"libraries__kazoo": "2"}, "kazoo 2", "no kazoo"),
    ],
)
def test_other_versions_are_refused_before_the_first_row_and_named(recipe, half, values, theirs, ours):
    change(half, **values)
    before = contents(half)
    with pytest.raises(SetupError, match=rf"2 units were made with {theirs}, this is {ours}.*--mixed.*another folder"):
        build(recipe, half, local=True)
    assert contents(half) == before


@pytest.mark.parametrize("section", ["features.model", "check.recogniser"])
def test_libraries_of_either_whisper_count(recipe, section):
    without, used = load_recipe(recipe), load_recipe(recipe, {section: "openai:tiny"})
    assert made_with.libraries_of(used).keys() - made_with.libraries_of(without).keys() >= {
        "openai-whisper",
        "tiktoken",
    }


def test_a_mixed_dataset_says_which_version_made_how_many_units_and_keeps_what_was_there(recipe, half):
    change(half, libraries__soxr="0.1")
    before = contents(half)
    assert build(recipe, half, local=True, mixed=True).complete
    after = contents(half)
    assert all(after[path] == before[path] for path in before if path.startswith(("shards/", "units/")))
    most, other = json.loads((half / "dataset.json").read_text())["made_with"]
    assert (most["units"], most["differs"]) == (2, {})
    assert (other["units"], list(other["differs"])) == (1, ["soxr"])
    assert [json.loads(path.read_text())["made_with"] for path in sidecars(half)] == [[0], [0], [1]]
    assert check(half).problems == []
    # Without being told to, nobody adds to it.
    next((half / "shards").glob("train-000002-*")).unlink()
    with pytest.raises(SetupError, match=r"2 units were made with soxr 0\.1"):
        build(recipe, half, local=True)
    assert len(sidecars(half)) == 3


def test_rows_of_two_codecs_are_never_mixed(recipe, half):
    change(half, fingerprints__codec__revision="0")
    with pytest.raises(SetupError, match="rows of two codecs cannot be mixed: revision '1' instead of '0'"):
        build(recipe, half, local=True, mixed=True)


def test_a_finished_dataset_says_what_it_was_made_with_and_stays(recipe, tmp_path):
    build(recipe, tmp_path / "out", local=True)
    assert build(recipe, tmp_path / "out", local=True).other_versions is None
    change(tmp_path / "out", libraries__soxr="0.1")
    before = contents(tmp_path / "out")
    summary = build(recipe, tmp_path / "out", local=True)
    assert summary.complete
    assert summary.other_versions.startswith("soxr 0.1; this is soxr ")
    assert contents(tmp_path / "out") == before


def test_of_two_that_come_at_once_one_is_first_and_the_other_is_refused(tmp_path):
    store = Store(tmp_path)
    assert made_with.join(store, {"python": "3.12"}, {}, mixed=False) == 0
    assert made_with.join(store, {"python": "3.12"}, {}, mixed=False) == 0
    with pytest.raises(SetupError, match=r"a run was started with python 3.12, this is python 3.13"):
        made_with.join(store, {"python": "3.13"}, {}, mixed=False)
    assert made_with.join(store, {"python": "3.13"}, {}, mixed=True) == 1
    assert made_with.join(store, {"python": "3.12"}, {}, mixed=True) == 0


def test_units_of_something_else_are_left_alone(recipe, half):
    stranger = half / "units" / "000001-0123456789abcdef.json"
    unit = json.loads(sidecars(half)[1].read_text())
    shutil.copy(half / unit["files"][0]["path"], half / "shards" / "train-000001-0123456789abcdef.arrow")
    unit["files"][0]["path"] = "shards/train-000001-0123456789abcdef.arrow"
    stranger.write_text(json.dumps(unit))
    before = contents(half)
    with pytest.raises(SetupError, match=r"000001-0123456789abcdef.json is a unit of another recipe.*left alone"):
        build(recipe, half, local=True)
    assert contents(half) == before


def test_units_of_an_earlier_version_of_this_package_are_refused(recipe, tmp_path):
    build(recipe, tmp_path / "out", local=True)
    for path in sidecars(tmp_path / "out"):
        unit = json.loads(path.read_text())
        del unit["made_with"]
        path.write_text(json.dumps(unit))
    with pytest.raises(SetupError, match="made by an earlier version of anytalk"):
        rejudge(tmp_path / "out", {"check.attempts": 1})


def test_strays_of_killed_workers_are_collected(recipe, half):
    (half / "shards" / "train-000001-aaaaaaaaaaaaaaaa.arrow").write_bytes(b"of a beaten worker")
    (half / "units" / "000002-bbbbbbbbbbbbbbbb.json.1234.part").write_bytes(b"half")
    (half / "README.md.1234.part").write_bytes(b"of one that was killed while it closed the dataset")
    assert build(recipe, half, local=True).complete
    assert check(half).problems == []


def test_rows_that_are_judged_again_with_other_versions_are_refused_or_named(
    fake_recipe, write_jsonl, anything, tmp_path
):
    strict = {"question": anything, "answer": anything | {"max_leading_silence_s": 0.5}}
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), check=strict)
    assert build(recipe, tmp_path / "out", local=True).rows_rejected
    assert [json.loads(path.read_text())["rejected"] for path in sidecars(tmp_path / "out")] == [4, 4, 4]
    change(tmp_path / "out", libraries__soxr="0.1")
    looser = {"check.answer.max_leading_silence_s": 60.0}
    with pytest.raises(SetupError, match=r"was made with soxr 0.1, this is soxr .*--mixed"):
        rejudge(tmp_path / "out", looser)
    assert rejudge(tmp_path / "out", looser, mixed=True).came_back
    versions = json.loads((tmp_path / "out" / "dataset.json").read_text())["made_with"]
    assert [one["units"] for one in versions] == [3, 3]
    assert check(tmp_path / "out").problems == []
