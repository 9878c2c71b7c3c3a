"""Filtered and merged datasets are checked like built ones, and say where their rows come from."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from anytalk.pipelines import build, check, filter_rows, merge, rejudge
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import SetupError


@pytest.fixture(scope="module")
def made(fake_sections, tmp_path_factory):
    """Two datasets of other pairs and other seeds, in which answers pass at once, later, and never."""
    folder = tmp_path_factory.mktemp("made")
    anything = fake_sections["check"]["answer"]
    for name, seed in (("one", 1), ("two", 2)):
        pairs = [{"question": f"{name} {n}?", "answer": "Said" + " so" * (n % 5) + "."} for n in range(10)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        sections = {
            "name": name,
            "seed": seed,
            "source": str(folder / f"{name}.jsonl"),
            "split": {"validation": 0.3},
            "voices": {"question": ["fake:ann"], "answer": {"voice": "fake:eve", "speed": [0.6, 1.6]}},
            # Tones are no speech, so all of one counts as silence: a length that changes from attempt to attempt.
            "check": {
                "mos": "fake",
                "attempts": 2,
                "question": anything,
                "answer": anything | {"max_leading_silence_s": 0.5},
            },
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(fake_sections | sections))
        build(load_recipe(folder / f"{name}.yaml"), folder / name, local=True)
    return folder


def _rows(dataset: Path, folder: str = "shards") -> dict[str, dict]:
    paths = sorted((dataset / folder).glob("*.arrow"))
    tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def _files(dataset: Path) -> dict[str, bytes]:
    return {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}


def test_a_filtered_dataset_has_the_rows_that_meet_the_condition_and_checks_well(made, tmp_path):
    before = _rows(made / "one")
    bound = sorted(row["answer_samples"] for row in before.values())[len(before) // 2]
    found = filter_rows(made / "one", tmp_path / "out", f"answer_samples <= {bound}")
    assert check(tmp_path / "out").problems == []
    assert _rows(tmp_path / "out") == {name: row for name, row in before.items() if row["answer_samples"] <= bound}
    assert (found.rows, found.left_out) == (len(_rows(tmp_path / "out")), len(before) - found.rows)
    attempts = _rows(made / "one", "attempts")
    assert _rows(tmp_path / "out", "attempts") == {
        name: attempts[name] for name in attempts.keys() & _rows(tmp_path / "out")
    }
    manifest = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert manifest["derived"]["where"] == f"answer_samples <= {bound}"
    assert manifest["derived"]["from"][0]["rows"] == len(before)
    assert f"answer_samples <= {bound}" in (tmp_path / "out" / "README.md").read_text()


def test_a_merge_has_all_rows_rejects_and_splits_and_checks_well(made, tmp_path):
    found = merge([made / "one", made / "two"], tmp_path / "out")
    assert check(tmp_path / "out").problems == []
    for folder in ("shards", "rejects", "attempts"):
        assert _rows(tmp_path / "out", folder) == _rows(made / "one", folder) | _rows(made / "two", folder)
    manifests = [json.loads((made / name / "dataset.json").read_text()) for name in ("one", "two")]
    assert found.splits == {
        split: sum(manifest["splits"].get(split, 0) for manifest in manifests) for split in found.splits
    }
    merged = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert merged["rows_rejected"] == sum(manifest["rows_rejected"] for manifest in manifests) > 0
    assert merged["derived"]["seeds"] == [1, 2]


def test_rows_of_two_datasets_are_refused_or_taken_from_the_first(made, tmp_path):
    lengths = sorted(row["answer_samples"] for row in _rows(made / "one").values())
    filter_rows(made / "one", tmp_path / "long", f"answer_samples > {lengths[len(lengths) // 2]}")
    with pytest.raises(SetupError, match="in more than one of the datasets: add --keep-first"):
        merge([tmp_path / "long", made / "one"], tmp_path / "out")
    merge([tmp_path / "long", made / "one"], tmp_path / "out", keep_first=True)
    assert check(tmp_path / "out").problems == []
    assert _rows(tmp_path / "out") == _rows(made / "one")


def test_an_interrupted_merge_goes_on_to_the_same_bytes(made, tmp_path):
    merge([made / "one", made / "two"], tmp_path / "out")
    before = _files(tmp_path / "out")
    for name in ("SHA256SUMS", "dataset.json", "plan/plan.json"):
        (tmp_path / "out" / name).unlink()
    shutil.rmtree(tmp_path / "out" / "units")
    (tmp_path / "out" / "plan" / "derived.json").write_text(
        json.dumps(json.loads(before["dataset.json"])["derived"], indent=2, ensure_ascii=False) + "\n"
    )
    merge([made / "one", made / "two"], tmp_path / "out")
    assert _files(tmp_path / "out") == before
    with pytest.raises(SetupError, match="holds something else"):
        merge([made / "two", made / "one"], tmp_path / "out")


def test_what_does_not_go_together_is_refused_in_a_line(made, tmp_path):
    shutil.copytree(made / "two", tmp_path / "other")
    rejudge(tmp_path / "other", {"check.answer.max_leading_silence_s": 0.6})
    with pytest.raises(SetupError, match=r"have different check\.answer: give both the same thresholds"):
        merge([made / "one", tmp_path / "other"], tmp_path / "out")
    manifest = json.loads((made / "two" / "dataset.json").read_text())
    manifest["fingerprints"]["codec"]["sha256"] = "1" * 64
    (tmp_path / "other" / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(SetupError, match="have different codecs"):
        merge([made / "one", tmp_path / "other"], tmp_path / "out")
    with pytest.raises(SetupError, match=r"no row of .* is left"):
        filter_rows(made / "one", tmp_path / "out", "answer_samples < 0")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_derived_dataset_is_not_spoken_on(made, tmp_path):
    filter_rows(made / "one", tmp_path / "out", "answer_samples > 0")
    before = _files(tmp_path / "out")
    with pytest.raises(SetupError, match=r"was made from other datasets \(one\) by anytalk filter"):
        rejudge(tmp_path / "out", {"check.answer.max_leading_silence_s": 0.6})
    with pytest.raises(SetupError, match="build into another folder"):
        build(load_recipe(made / "one.yaml"), tmp_path / "out", local=True)
    assert _files(tmp_path / "out") == before


def test_a_merge_of_one_dataset_is_refused(made, tmp_path):
    with pytest.raises(SetupError, match="merge takes two datasets or more, and then the new one; got "):
        merge([made / "one"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
