"""A recogniser of its own for the checks: its transcripts are judged and stored, the other's features are."""

import json

import numpy as np
import pyarrow as pa
import pytest
from support.random_whisper import write_random_pt

from anytalk.pipelines import build, check
from anytalk.pipelines.rejudge import rejudge
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import load_whisper

# openai-whisper does not close the file of its tokenizer.
pytestmark = pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")

VOICES = {"question": ["hibari:heart"], "answer": "hibari:heart"}
PAIR = [{"question": "What do bees make?", "answer": "Bees make honey."}]


@pytest.mark.slow
def test_a_better_whisper_judges_while_the_features_of_another_are_stored(
    fake_recipe, fake_sections, write_jsonl, tmp_path
):
    strict = {"mos": "fake", "recogniser": "tiny.en", "question": {"max_wer": 0.0}, "answer": {"max_wer": 0.0}}
    recipe = fake_recipe(source=str(write_jsonl(PAIR)), voices=VOICES, check=strict)
    out = tmp_path / "set"
    summary = build(recipe, out, local=True)
    assert summary.rows_accepted == 1
    [shard] = (out / "shards").glob("*.arrow")
    table = pa.ipc.open_file(shard).read_all()
    [row] = table.to_pylist()
    assert (row["question_transcript"].strip(), row["answer_wer"]) == ("What do bees make?", 0.0)
    assert np.asarray(row["question_features"]).shape[1] == load_whisper("fake").feature_width
    prints = json.loads((out / "dataset.json").read_text())["fingerprints"]
    assert prints["features"]["model"] == "fake"
    assert prints["recogniser"] == dict(load_whisper("tiny.en", text_compute_type="int8").fingerprint)
    assert json.loads(table.schema.metadata[b"anytalk"])["recogniser"] == prints["recogniser"]
    assert check(out).problems == []
    # Judging again needs the same one, and encodes what comes back.
    assert rejudge(out, {"check.max_wer": 1.0}, local=True).rows_accepted == 1


def test_the_recogniser_must_know_the_languages_and_is_named_where_it_does_not(fake_recipe, write_jsonl, tmp_path):
    german = str(write_jsonl([{"question": "Was machen Bienen?", "answer": "Honig.", "language": "de"}]))
    voices = {
        "question": [{"voice": "fake:ann", "language": "mul"}],
        "answer": {"voice": "fake:eve", "language": "mul"},
    }
    recipe = fake_recipe(source=german, voices=voices, check={"mos": "fake", "recogniser": "tiny.en"})
    with pytest.raises(SetupError, match=r"Whisper tiny\.en knows only English.*--set check\.recogniser=small"):
        build(recipe, tmp_path / "set", local=True)
    unnamed = write_random_pt(tmp_path / "english.pt")
    recipe = fake_recipe(source=german, voices=voices, check={"mos": "fake", "recogniser": str(unnamed)})
    with pytest.raises(SetupError, match="'de'"):
        build(recipe, tmp_path / "other", local=True)
