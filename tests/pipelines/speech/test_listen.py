"""Without listening, all that can be spoken is accepted, and nothing is said of how it sounds."""

import json

import pyarrow as pa
import pytest

from anytalk.pipelines import build, check, rejudge
from anytalk.pipelines.dataset import MEASURES
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import SetupError

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(10)]
STRICT = {"check.question.min_mos": 5.0, "check.answer.min_mos": 5.0, "check.attempts": 1}


def rows_of(folder):
    return [row for path in sorted(folder.glob("*.arrow")) for row in pa.ipc.open_file(path).read_all().to_pylist()]


@pytest.mark.parametrize("stores", [True, False])
def test_what_is_not_listened_to_is_accepted_with_codes_and_without_measures(
    fake_recipe, write_jsonl, tmp_path, stores
):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), report=True)
    heard = build(recipe, tmp_path / "heard", local=True, **STRICT)
    assert (heard.rows_accepted, heard.rows_rejected) == (0, 10)
    unheard = build(recipe, tmp_path / "out", local=True, **STRICT, **{"check.listen": False, "features.store": stores})
    assert (unheard.rows_accepted, unheard.rows_rejected) == (10, 0)
    for row in rows_of(tmp_path / "out" / "shards"):
        assert len(row["answer_codes"]) > 0
        assert ("question_features" in row) == stores
        assert not stores or len(row["question_features"]) > 0
        for side in ("question", "answer"):
            assert row[f"{side}_transcript"] is None
            assert {row[f"{side}_{name}"] for name in MEASURES} == {None}
    assert check(tmp_path / "out").problems == []
    assert "Nothing was listened to" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "report.html").stat().st_size > 0
    seconds = [json.loads(path.read_text())["seconds"] for path in (tmp_path / "out" / "units").glob("*.json")]
    assert {each["judging"] for each in seconds} == {0.0}
    assert stores or {each["hearing"] for each in seconds} == {0.0}


@pytest.mark.parametrize(("stores", "named"), [(False, {"codec", "voices"}), (True, {"codec", "features", "voices"})])
def test_what_is_not_used_is_neither_loaded_nor_named(fake_recipe, write_jsonl, tmp_path, stores, named):
    # Neither of them can be loaded.
    check_section = {"listen": False, "mos": "utmos:gone.onnx", "recogniser": str(tmp_path / "gone")}
    features = {"model": "fake" if stores else str(tmp_path / "gone"), "store": stores}
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), check=check_section, features=features)
    summary = build(recipe, tmp_path / "out", local=True)
    assert summary.rows_accepted == 10
    manifest = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert manifest["fingerprints"].keys() == named
    shard = next((tmp_path / "out" / "shards").glob("*.arrow"))
    metadata = json.loads(pa.ipc.open_file(shard).schema.metadata[b"anytalk"])
    assert metadata.keys() == named | {"schema"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("| Whisper (features) | `fake` |" in card, "gone" in card) == (stores, False)
    assert check(tmp_path / "out").problems == []
    rejudge(tmp_path / "out", {"check.min_mos": 5.0})
    assert check(tmp_path / "out").problems == []


def test_another_judgement_changes_nothing_of_what_was_not_listened_to(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "out", local=True, **{"check.listen": False})
    before = rows_of(tmp_path / "out" / "shards")
    rejudge(tmp_path / "out", {"check.min_mos": 5.0})
    assert rows_of(tmp_path / "out" / "shards") == before
    assert len(before) == 10
    assert check(tmp_path / "out").problems == []


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"augment": [{"kind": "codec", "codecs": ["opus"]}]}, "augment"),
        ({"source": {"kind": "recordings", "path": "sounds", "transcribe": True}}, "source.transcribe"),
    ],
)
def test_what_needs_to_hear_is_refused_by_name(fake_recipe, section, named):
    with pytest.raises(SetupError, match=f"check.listen is false, but {named} needs to hear"):
        load_recipe(fake_recipe(check={"listen": False}, **section))
