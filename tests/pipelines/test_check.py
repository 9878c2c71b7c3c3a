"""Checks find what is wrong, by file and row."""

import importlib
import json

import numpy as np
import pyarrow as pa
import pytest

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import commit, schema
from anytalk.pipelines.verify import row_problems
from anytalk.synth.fingerprint import sha256

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(5)]


@pytest.fixture
def dataset(fake_recipe, write_jsonl, tmp_path):
    rows = [*PAIRS, {"question": "[unspeakable]", "answer": "No."}, {"question": "Empty?", "answer": ""}]
    build(fake_recipe(source=str(write_jsonl(rows))), tmp_path / "out", local=True)
    assert check(tmp_path / "out").well
    return tmp_path / "out"


def test_any_flipped_bit_is_found(dataset):
    rng = np.random.default_rng(0)
    for path in sorted(path for path in dataset.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for place in {0, len(whole) - 1, *rng.integers(len(whole), size=6).tolist()}:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            assert not check(dataset).well, f"{path.name} byte {place}"
        path.write_bytes(whole)
    assert check(dataset).well


def test_missing_and_unlisted_files_are_named(dataset):
    [shard, *_] = sorted((dataset / "shards").iterdir())
    shard.rename(dataset / "shards" / "other.arrow")
    problems = check(dataset).problems
    assert any(shard.name in problem and "missing" in problem for problem in problems)
    assert any("other.arrow: not listed" in problem for problem in problems)


def resign(dataset, path):
    """Make the checksums agree with a file that was changed on purpose."""
    sums = dataset / "SHA256SUMS"
    lines = [line.split("  ") for line in sums.read_text().splitlines()]
    digests = {name: sha256((dataset / name).read_bytes()) if name == path else digest for digest, name in lines}
    sums.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))


def test_a_manifest_that_does_not_match_its_sidecars_is_found(dataset):
    manifest = json.loads((dataset / "dataset.json").read_text())
    manifest["rows_accepted"] += 1
    (dataset / "dataset.json").write_text(json.dumps(manifest))
    resign(dataset, "dataset.json")
    assert check(dataset).problems == ["dataset.json: rows_accepted is 6; the sidecars come to 5"]


def test_a_row_that_was_dropped_behind_the_checksums_is_found(dataset):
    [path, *_] = sorted((dataset / "shards").iterdir())
    table = pa.ipc.open_file(path).read_all()
    name = str(path.relative_to(dataset))
    path.write_bytes(commit.arrow_bytes(table.slice(1), 2))
    resign(dataset, name)
    problems = check(dataset).problems
    assert [problem for problem in problems if table["id"][0].as_py() in problem and "0 times" in problem]


def changed(dataset, **values):
    """Problems of the first row with some values replaced."""
    [path, *_] = sorted((dataset / "shards").iterdir())
    table = pa.ipc.open_file(path).read_all()
    row = table.slice(0, 1).to_pylist()[0]
    row["question_features"] = schema.matrix(table["question_features"], 0)
    row["answer_codes"] = schema.matrix(table["answer_codes"], 0)
    row |= {name: value(row[name]) if callable(value) else value for name, value in values.items()}
    return list(row_problems(schema.table([row], table.schema), 0, recipe_seeds=[1]))


def test_each_promise_of_a_row_is_checked(dataset):
    assert changed(dataset) == []
    assert "frames for" in changed(dataset, answer_codes=lambda codes: codes[:-1])[0]
    assert "codes are 0 to 4095" in changed(dataset, answer_codes=lambda codes: codes + np.uint16(4096))[0]
    assert "samples make" in changed(dataset, question_features=lambda features: features[1:])[0]
    assert "NaN" in changed(dataset, question_features=lambda features: features * np.float16(np.nan))[0]
    assert "expected" in changed(dataset, answer_samples=lambda samples: samples - 1)[0]
    assert "does not follow" in changed(dataset, seed=7)[0]
    assert "not both there" in changed(dataset, question_audio=None)[0]
    assert "cannot be opened" in changed(dataset, answer_audio={"bytes": b"x", "path": "x"})[0]


def test_an_unfinished_dataset_is_said_to_be_unfinished(dataset):
    from anytalk.synth.errors import SetupError

    (dataset / "SHA256SUMS").unlink()
    with pytest.raises(SetupError, match="unfinished dataset; run anytalk build again"):
        check(dataset)


@pytest.mark.slow
def test_several_processes_find_what_one_finds_and_read_every_file_once(dataset, monkeypatch):
    monkeypatch.setattr(importlib.import_module("anytalk.pipelines.check"), "CHECKED_ALONE", 1)
    [path, *_] = sorted((dataset / "shards").iterdir())
    table = pa.ipc.open_file(path).read_all()
    path.write_bytes(commit.arrow_bytes(table.slice(1), 2))
    resign(dataset, str(path.relative_to(dataset)))
    alone = check(dataset, workers=1)
    assert alone.units == [0]
    assert check(dataset, workers=2) == alone
