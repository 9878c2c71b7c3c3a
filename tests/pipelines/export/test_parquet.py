"""Parquet exports, read back by `datasets`, by our own source and by the rules of SLAM-LLM's reader."""

import io
import json

import datasets
import numpy as np
import pyarrow.parquet as pq
import soundfile

from anytalk.pipelines.dataset import Store
from anytalk.pipelines.export import HubParquet, TtsParquet, VoiceAssistant400k, export
from anytalk.pipelines.recipe import VoiceAssistant
from anytalk.pipelines.source.attachment import Attachments
from anytalk.pipelines.source.voiceassistant import parse_codes, voiceassistant_pairs


def test_datasets_loads_hf_with_audio_columns_and_all_values(built, built_rows, tmp_path):
    found = export(built, HubParquet(), tmp_path / "out", part_rows=5)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == found.splits
    assert loaded["train"].features["question_audio"] == datasets.Audio(sampling_rate=16_000)
    assert "question_features" not in loaded["train"].column_names
    for rows in loaded.values():
        rows = rows.cast_column("question_audio", datasets.Audio(decode=False))
        for row in rows.cast_column("answer_audio", datasets.Audio(decode=False)):
            original = built_rows[row["id"]]
            assert row["question_audio"]["bytes"] == original["question_audio"]["bytes"]
            assert row["answer_audio"]["path"] == f"{row['id']}.flac"
            assert row["answer_codes"] == original["answer_codes"]
            assert row["answer_mos"] == original["answer_mos"]


def test_hf_keeps_features_when_asked(built, built_rows, tmp_path):
    export(built, HubParquet(features=True), tmp_path / "out", splits=["validation"])
    [row, *_] = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))[
        "validation"
    ].remove_columns(["question_audio", "answer_audio"])
    assert np.array_equal(row["question_features"], built_rows[row["id"]]["question_features"])


def test_tts_parquet_has_text_audio_and_source(built, built_rows, tmp_path):
    export(built, TtsParquet(), tmp_path / "answers")
    export(built, TtsParquet(side="question", source="me"), tmp_path / "questions")
    rows = pq.read_table(tmp_path / "answers" / "data").to_pylist()
    assert {row["source"] for row in rows} == {"eve"}
    for row in rows:
        original = built_rows[row["id"]]
        assert (row["text"], row["audio"]["bytes"]) == (original["answer"], original["answer_audio"]["bytes"])
        assert soundfile.info(io.BytesIO(row["audio"]["bytes"])).samplerate == 24_000
        assert row["wer"] == original["answer_wer"]
    questions = pq.read_table(tmp_path / "questions" / "data").to_pylist()
    assert {row["source"] for row in questions} == {"me"}
    assert questions[0]["text"] == built_rows[questions[0]["id"]]["question"]


def test_our_own_source_reads_voiceassistant_back(built, built_rows, tmp_path):
    export(built, VoiceAssistant400k(any_codec=True), tmp_path / "out", splits=["train"])
    source = VoiceAssistant(kind="voiceassistant", dataset=str(tmp_path / "out"))
    attachments = Attachments(Store(tmp_path / "attachments"))
    pairs = list(voiceassistant_pairs(source, attachments))
    train = {(row["split_name"], row["question"], row["answer"]) for row in built_rows.values()}
    assert {(pair.split_name, pair.question, pair.answer) for pair in pairs} <= train
    assert len({(pair.conversation, pair.turn) for pair in pairs}) == len(pairs)


def test_voiceassistant_has_the_published_columns_and_what_slam_llm_reads(built, built_rows, tmp_path):
    export(built, VoiceAssistant400k(any_codec=True), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "data")
    types = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert {name: kind.get("dtype", kind["_type"]) for name, kind in types.items()} == {
        "split_name": "string",
        "index": "string",
        "round": "string",
        "question": "string",
        "question_audio": "Audio",
        "answer": "string",
        "answer_snac": "string",
    }
    for row in table.to_pylist():
        original = built_rows[row["question_audio"]["path"].removesuffix(".flac")]
        # examples/s2s of SLAM-LLM splits at blanks and takes every eighth word for a layer (`get_snac_answer_token`).
        words = row["answer_snac"].split()
        layers = [[int(word) for place, word in enumerate(words) if place % 8 == layer] for layer in range(1, 8)]
        assert np.array_equal(np.transpose(layers), original["answer_codes"])
        assert parse_codes(row["answer_snac"]).tolist() == original["answer_codes"]
