"""VoiceAssistant-400K: its questions keep their audio, its answers their codes, and what is wrong is said."""

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from pydantic import TypeAdapter
from support.published_codes import CODES, snac_text

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.recipe import Source, load_recipe
from anytalk.pipelines.source import Attachments, BadPair, read_pairs
from anytalk.pipelines.source.voiceassistant import COLUMNS, parse_codes
from anytalk.synth.codec.snac import write_random_snac
from anytalk.synth.errors import SampleError, SetupError


@pytest.fixture
def published(tmp_path):
    """Write rows as the dataset is published, and give the recipe's source."""
    soundfile.write(tmp_path / "q.wav", 0.1 * np.sin(np.arange(22_050) / 9), 22_050)
    audio = {"bytes": (tmp_path / "q.wav").read_bytes(), "path": "q.wav"}

    def write(*changes, **more):
        rows = [
            {
                "split_name": "identity",
                "index": str(number),
                "round": "0",
                "question": f"Who are you, number {number}?",
                "question_audio": audio,
                "answer": "I am an assistant.",
                "answer_snac": snac_text(CODES[number:]),
            }
            | change
            for number, change in enumerate(changes or ({}, {}))
        ]
        text = {column: datasets.Value("string") for column in COLUMNS}
        features = datasets.Features(text | {"question_audio": datasets.Audio()})
        (tmp_path / "va").mkdir()
        # Written by pyarrow: to encode audio, `datasets` wants torchcodec even for bytes.
        pq.write_table(pa.Table.from_pylist(rows, schema=features.arrow_schema), tmp_path / "va" / "train-0.parquet")
        return {"kind": "voiceassistant", "dataset": str(tmp_path / "va"), **more}

    return write


def read(source, folder):
    attachments = Attachments(Store(folder))
    pairs = list(read_pairs(TypeAdapter(Source).validate_python(source), attachments))
    attachments.close()
    return pairs


def rows_of(folder):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / "shards").iterdir())]
    return [row for table in tables for row in table.to_pylist()]


def test_codes_come_back_in_layer_order():
    np.testing.assert_array_equal(parse_codes(snac_text(CODES)), CODES)
    assert parse_codes("# 0 1 2 3 4 5 6").dtype == np.uint16


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing_codes"),
        ("  \n", "missing_codes"),
        ("1 2 3 4 5 6 7", "malformed_codes"),
        ("7 # 1 2 3 4 5 6 7", "malformed_codes"),
        ("# 1 2 3 4 5 6", "malformed_codes"),
        ("# 1 2 3 4 5 6 7 #", "malformed_codes"),
        (f"# {' '.join(map(str, range(15)))}", "malformed_codes"),
        ("# 1 2 3 -4 5 6 7", "malformed_codes"),
        ("# 1 2 3 4.0 5 6 7", "malformed_codes"),
        ("# 1 2 3 4 5 6 4096", "code_out_of_range"),
        ("# 1 4161 8322 12483 16644 20805 24966", "code_out_of_range"),
        ("# 1 2 3 4 5 6 99999999999999999999999", "code_out_of_range"),
    ],
)
def test_codes_that_are_none_of_snac_are_refused_with_a_reason(text, reason):
    with pytest.raises(SampleError) as caught:
        parse_codes(text)
    assert caught.value.reason == reason


def test_rows_that_lack_something_come_out_with_their_reason(published, tmp_path):
    gone = {"bytes": None, "path": "gone.wav"}
    changes = ({}, {"answer_snac": ""}, {"question_audio": gone}, {"round": "first"}, {"index": ""})
    good, *bad = read(published(*changes), tmp_path / "out")
    assert (good.split_name, good.conversation, good.turn) == ("identity", "0", 0)
    assert good.source == "va/train:1"
    reasons = [found.reason for found in bad if isinstance(found, BadPair)]
    assert reasons == ["missing_codes", "missing_audio", "malformed_row", "malformed_row"]


def test_a_dataset_of_other_columns_is_refused_by_name(tmp_path):
    pq.write_table(pa.table({"index": ["1"], "question": ["Q?"]}), tmp_path / "other.parquet")
    with pytest.raises(SetupError, match="lacks split_name, round, question_audio, answer, answer_snac"):
        read({"kind": "voiceassistant", "dataset": str(tmp_path / "other.parquet")}, tmp_path / "out")


def test_published_codes_are_decoded_and_heard_by_snac_and_stored_as_they_came(published, fake_recipe, tmp_path):
    write_random_snac(tmp_path / "snac", seed=3, encoder_dim=4, decoder_dim=64)
    recipe = fake_recipe(source=published(), codec={"model": str(tmp_path / "snac")})
    assert build(recipe, tmp_path / "out", local=True).rows_accepted == 2
    for number, row in enumerate(sorted(rows_of(tmp_path / "out"), key=lambda row: row["conversation"])):
        np.testing.assert_array_equal(row["answer_codes"], CODES[number:])
        assert row["answer_samples"] == len(CODES[number:]) * 2048
        assert row["answer_audio"]["bytes"][:4] == b"fLaC"
        assert row["answer_mos"] is not None
        assert row["answer_voice"] == f"codes:va/train:{number + 1}"
        assert row["question_voice"] == f"recording:va/train:{number + 1} question_audio"
        assert row["question_samples"] == 16_000
    assert check(tmp_path / "out").problems == []


def test_without_a_codec_codes_are_kept_unheard_and_named_as_the_published_snac(published, fake_recipe, tmp_path):
    recipe = fake_recipe(source=published({}, {"answer_snac": snac_text(CODES.repeat(100, axis=0))}))
    summary = build(recipe, tmp_path / "out", local=True, **{"codec.model": "snac-codes"})
    assert (summary.rows_accepted, summary.reasons) == (1, {"too_long": 1})
    [row] = rows_of(tmp_path / "out")
    np.testing.assert_array_equal(row["answer_codes"], CODES)
    assert (row["answer_audio"], row["answer_transcript"], row["answer_wer"]) == (None, None, None)
    assert row["answer_samples"] == len(CODES) * 2048
    [shard] = (tmp_path / "out" / "shards").iterdir()
    assert b"hubertsiuzdak/snac_24khz" in pa.ipc.open_file(shard).schema.metadata[b"anytalk"]
    assert check(tmp_path / "out").problems == []


def test_only_what_is_asked_for_is_spoken_anew(published, fake_recipe, tmp_path):
    recipe = fake_recipe(source=published(respeak="answer"))
    build(recipe, tmp_path / "out", local=True)
    for row in rows_of(tmp_path / "out"):
        assert row["question_voice"].startswith("recording:")
        assert row["answer_voice"].startswith("fake:eve")
    both = load_recipe(recipe, {"source.respeak": True})
    assert both.source.respeak == ("question", "answer")
    assert all(pair.recording_hashes() == (None, None) for pair in read(both.source, tmp_path / "again"))


def test_a_codec_that_does_not_know_the_codes_is_refused_before_anything_runs(published, fake_recipe, tmp_path):
    source = published()
    with pytest.raises(SetupError, match=r"codec 'fake' does not know.*source\.respeak"):
        load_recipe(fake_recipe(source=source))
    with pytest.raises(SetupError, match="encodes nothing; name a codec"):
        load_recipe(fake_recipe(source=[source, "bundled"], codec={"model": "snac-codes"}))
