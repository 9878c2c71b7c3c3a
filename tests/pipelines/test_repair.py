"""A damaged dataset is repaired unit by unit, and is then what it was, byte for byte."""

import json

import pytest
from support.command_line import anytalk

from anytalk.pipelines import build, check, rejudge, repair
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256

pytestmark = pytest.mark.slow

PAIRS = [{"question": f"Question number {n}?", "answer": "Said" + " so" * (n % 5) + "."} for n in range(12)]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def dataset(fake_recipe, write_jsonl, tmp_path):
    build(fake_recipe(source=str(write_jsonl(PAIRS))), tmp_path / "out", local=True)
    return tmp_path / "out"


def one(folder, pattern):
    return sorted(folder.glob(pattern))[0]


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_units_that_are_missing_torn_or_flipped_are_named_and_made_again(dataset):
    before = contents(dataset)
    missing, torn, flipped = sorted(dataset.glob("shards/*"))
    missing.unlink()
    torn.write_bytes(torn.read_bytes()[:-8])
    flip(flipped, 2000)
    assert check(dataset).units == [0, 1, 2]
    missing.write_bytes(before[str(missing.relative_to(dataset))])
    told = anytalk("check", dataset)
    assert told.returncode == 1
    assert f"wrong units: 1, 2; anytalk check {dataset} --repair makes them again" in told.stdout
    whole = missing.stat().st_mtime_ns
    mended = anytalk("check", dataset, "--repair")
    assert mended.returncode == 0, mended.stderr
    assert "unit 1 was made again" in mended.stderr
    assert contents(dataset) == before
    assert missing.stat().st_mtime_ns == whole


@pytest.mark.parametrize("name", ["README.md", "dataset.json", "SHA256SUMS"])
def test_what_follows_from_sidecars_is_written_again_without_an_engine(dataset, name):
    before = contents(dataset)
    # In the list of checksums, the hash of a shard: the shard is as it was, and is not made again.
    content = (dataset / name).read_bytes()
    flip(dataset / name, content.index(b"  shards/") - 5 if name == "SHA256SUMS" else -3)
    assert not check(dataset).well
    times = {path: path.stat().st_mtime_ns for path in dataset.glob("shards/*")}
    assert repair(dataset).problems == []
    assert contents(dataset) == before
    assert {path: path.stat().st_mtime_ns for path in dataset.glob("shards/*")} == times


@pytest.mark.parametrize("damage", ["flipped", "missing", "no JSON"])
def test_a_unit_without_its_sidecar_is_made_again_with_the_same_rows(dataset, damage):
    before = contents(dataset)
    sidecar = one(dataset, "units/*")
    if damage == "missing":
        sidecar.unlink()
    elif damage == "flipped":
        sidecar.write_text(sidecar.read_text().replace('"accepted": 4', '"accepted": 5'))
    else:
        flip(sidecar, 0)
    assert check(dataset).units == [0]
    assert repair(dataset).problems == []
    after = contents(dataset)
    assert after.keys() == before.keys()
    assert {path for path in before if before[path] != after[path]} <= {
        str(sidecar.relative_to(dataset)),
        "dataset.json",
        "SHA256SUMS",
    }


def test_a_plan_that_is_damaged_is_not_repaired_and_nothing_is_touched(dataset):
    flip(dataset / "plan" / "plan.json", -30)
    one(dataset, "shards/*").unlink()
    before = contents(dataset)
    with pytest.raises(SetupError, match=r"plan.json is not what SHA256SUMS says, and cannot be made again"):
        repair(dataset)
    assert contents(dataset) == before


def test_a_repair_with_other_versions_is_refused_unless_they_may_be_mixed(dataset):
    path = dataset / "plan" / "made-with-000000.json"
    version = path.read_bytes()
    other = json.loads(version)
    other["made_with"]["libraries"]["soxr"] = "0.1"
    path.write_text(json.dumps(other))
    listed = (dataset / "SHA256SUMS").read_text()
    (dataset / "SHA256SUMS").write_text(listed.replace(sha256(version), sha256(path.read_bytes())))
    one(dataset, "shards/*").unlink()
    before = contents(dataset)
    with pytest.raises(SetupError, match=r"3 units were made with soxr 0.1, this is soxr .*--mixed"):
        repair(dataset)
    assert contents(dataset) == before
    assert repair(dataset, mixed=True).problems == []


def test_a_dataset_that_was_judged_again_is_repaired_by_way_of_all_its_judgements(
    fake_recipe, write_jsonl, anything, tmp_path
):
    check_section = {"question": anything, "answer": anything | {"max_leading_silence_s": 0.5}, "attempts": 2}
    speeds = {"voice": "fake:eve", "speed": [0.6, 1.6]}
    recipe = fake_recipe(
        source=str(write_jsonl(PAIRS)), check=check_section, voices={"question": ["fake:ann"], "answer": speeds}
    )
    out = tmp_path / "out"
    build(recipe, out, local=True)
    assert rejudge(out, {"check.answer.max_leading_silence_s": 0.8}).came_back
    rejudge(out, {"check.attempts": 3}, reroll=True, local=True)
    before = contents(out)
    one(out, "shards/*").unlink()
    assert repair(out).problems == []
    assert contents(out) == before
