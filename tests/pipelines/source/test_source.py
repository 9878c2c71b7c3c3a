"""Sources: every row of a table or folder comes out as a pair, or with the reason why not."""

import csv
import dataclasses
import itertools
import json
import subprocess
from pathlib import Path

import datasets
import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from pydantic import TypeAdapter

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import split_of
from anytalk.pipelines.recipe import Source, Split
from anytalk.pipelines.source import Attachments, BadPair, Pair, read_pairs, read_recording, stamp
from anytalk.pipelines.source.recordings.cut import cut_at_silences, read_in_blocks
from anytalk.synth.audio import resample
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.judge.vad import SileroVad
from anytalk.synth.voice import SpeakRequest, load_voice

ROWS = [
    {"question": "Who are you?", "answer": "I am Robin."},
    {"question": "What is  two\nand two?", "answer": "Four."},
]


def source_of(value):
    return TypeAdapter(Source).validate_python(value)


def read_source(value, folder):
    attachments = Attachments(Store(folder))
    pairs = list(read_pairs(source_of(value), attachments))
    attachments.close()
    return pairs


def read(kind, path, **more):
    return read_source({"kind": kind, "path": str(path), **more}, path.parent / "dataset")


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_wav(path, seconds=0.5):
    soundfile.write(path, 0.1 * np.sin(np.arange(int(16_000 * seconds)) / 9), 16_000)


def test_jsonl_csv_and_parquet_give_the_same_pairs(tmp_path):
    write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["question", "answer"])
        writer.writeheader()
        writer.writerows(ROWS)
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "pairs.parquet")
    said = [
        [(pair.question, pair.answer, pair.conversation) for pair in read(kind, tmp_path / f"pairs.{kind}")]
        for kind in ("jsonl", "csv", "parquet")
    ]
    assert said[0] == said[1] == said[2]
    assert said[0][1][:2] == ("What is two and two?", "Four.")


def test_tables_of_other_kinds_are_refused_with_what_to_do(tmp_path):
    sheet = tmp_path / "pairs.xlsx"
    sheet.write_bytes(b"PK")
    with pytest.raises(SetupError, match=r"nor a table that is read \(.jsonl, .ndjson, .json, .csv, .tsv, .parquet\)"):
        read_source(str(sheet), tmp_path / "dataset")


def test_a_pair_without_a_conversation_keeps_its_name_wherever_it_stands(tmp_path):
    there = read("jsonl", write_jsonl(tmp_path / "a.jsonl", ROWS))
    back = read("jsonl", write_jsonl(tmp_path / "b.jsonl", ROWS[::-1]))
    assert there[0].conversation == back[1].conversation


def test_rows_that_are_no_pairs_come_out_with_their_reason_and_place(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"question": "A?", "answer": "B."}\nnot json\n[1]\n{"question": {"x": 1}, "answer": "B."}\n')
    pairs = read("jsonl", path)
    assert isinstance(pairs[0], Pair)
    assert [(p.reason, p.source) for p in pairs[1:] if isinstance(p, BadPair)] == [
        ("malformed_row", "pairs.jsonl:2"),
        ("malformed_row", "pairs.jsonl:3"),
        ("malformed_row", "pairs.jsonl:4"),
    ]


def test_columns_are_mapped_and_a_missing_one_is_refused_by_name(tmp_path):
    path = write_jsonl(tmp_path / "pairs.jsonl", [{"prompt": "A?", "reply": "B."}])
    [pair] = read("jsonl", path, columns={"question": "prompt", "answer": "reply"})
    assert (pair.question, pair.answer) == ("A?", "B.")
    with pytest.raises(SetupError, match=r"no column 'question'.*it has: prompt, reply"):
        read("jsonl", path)


def test_a_manifest_brings_recordings_on_either_side(tmp_path):
    write_wav(tmp_path / "q.wav")
    rows = [
        {"question": "Hello?", "question_audio": "q.wav", "answer": "Hi."},
        {"question": "Hello?", "question_audio": "q.wav"},
        {"question": "Hello?", "question_audio": "gone.wav", "answer": "Hi."},
    ]
    spoken, heard, gone = read("recordings", write_jsonl(tmp_path / "manifest.jsonl", rows))
    assert spoken.question_recording.path.endswith("q.wav")
    assert spoken.answer == "Hi."
    assert heard.answer is None
    assert gone.reason == "missing_audio"


def test_a_folder_pairs_recordings_with_their_transcripts(tmp_path):
    for name in ("one", "two", "two.answer", "three"):
        write_wav(tmp_path / f"{name}.wav")
    for name, text in {"one": "First.", "two": "Second?", "two.answer": "Yes."}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    by_name = {getattr(p, "conversation", p.source): p for p in read("recordings", tmp_path)}
    assert by_name["one"].answer is None
    assert by_name["two"].answer_recording is not None
    assert by_name["three.wav"].reason == "missing_transcript"


def test_a_limit_counts_conversations_and_keeps_them_whole(tmp_path):
    rows = [{"question": f"Q{n}?", "answer": "A.", "conversation": n // 2, "turn": n % 2} for n in range(8)]
    pairs = read("jsonl", write_jsonl(tmp_path / "pairs.jsonl", rows), limit=2)
    assert [pair.question for pair in pairs] == ["Q0?", "Q1?", "Q2?", "Q3?"]


def test_the_bundled_corpus_is_large_and_varied(tmp_path):
    pairs = read_source("bundled", tmp_path)
    assert all(isinstance(pair, Pair) for pair in pairs)
    assert len(pairs) >= 200
    kinds = {pair.split_name for pair in pairs}
    assert kinds == {"identity", "everyday", "instruction", "trivia", "trivia_choice", "dialogue"}
    assert any(pair.turn == 2 for pair in pairs)
    assert len({pair.question for pair in pairs}) == len(pairs)


def test_a_changed_file_has_another_stamp(tmp_path):
    path = write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    source = source_of(str(path))
    before = stamp(source)
    write_jsonl(path, [*ROWS, ROWS[0]])
    assert stamp(source) != before


@pytest.mark.parametrize("kind", ["jsonl", "recordings"])
def test_a_missing_source_is_refused_by_name(tmp_path, kind):
    with pytest.raises(SetupError, match="does not exist"):
        read(kind, tmp_path / "gone")


def tone_bytes(folder, hz=9):
    write_wav(folder / "tone.wav", hz / 18)
    return (folder / "tone.wav").read_bytes()


def kept(pair, folder):
    """The bytes that were laid aside for a pair's question."""
    recording = pair.question_recording
    return read_recording(dataclasses.replace(recording, path=f"{folder}/{recording.path}"))


def test_audio_inside_a_table_is_laid_aside_and_comes_back_byte_for_byte(tmp_path):
    wavs = [tone_bytes(tmp_path, hz) for hz in (9, 18)]
    rows = [{"question": f"Q{n}?", "question_audio": {"bytes": wav, "path": None}} for n, wav in enumerate(wavs)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "talks.parquet")
    pairs = read("parquet", tmp_path / "talks.parquet")
    assert [kept(pair, tmp_path / "dataset") for pair in pairs] == wavs
    assert [pair.question_recording.label() for pair in pairs] == [f"recording:talks.parquet:{n}" for n in (1, 2)]


def test_a_pack_that_is_gone_or_damaged_defers_the_row(tmp_path):
    rows = [{"question": "Q?", "question_audio": {"bytes": tone_bytes(tmp_path), "path": None}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "talks.parquet")
    [pair] = read("parquet", tmp_path / "talks.parquet")
    pack = tmp_path / "dataset" / pair.question_recording.path
    pack.write_bytes(pack.read_bytes().replace(b"WAVE", b"VAWE"))
    with pytest.raises(EngineError, match="has changed"):
        kept(pair, tmp_path / "dataset")
    pack.unlink()
    with pytest.raises(EngineError, match="cannot be read now"):
        kept(pair, tmp_path / "dataset")


@pytest.fixture
def hub_copies(tmp_path):
    """One dataset with audio as people have it on disk: Parquet in a folder, one file, and saved by `datasets`."""
    tone = {"bytes": tone_bytes(tmp_path), "path": "tone.wav"}
    features = datasets.Features(sentence=datasets.Value("string"), audio=datasets.Audio(sampling_rate=16_000))
    rows = [{"sentence": f"Say {n}.", "audio": tone} for n in range(3)]
    # Written by pyarrow: to encode audio, `datasets` wants torchcodec even for bytes.
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    (tmp_path / "talks" / "data").mkdir(parents=True)
    pq.write_table(table, tmp_path / "talks" / "data" / "train-00000-of-00001.parquet")
    datasets.Dataset(datasets.table.InMemoryTable(table)).save_to_disk(tmp_path / "saved")
    return tmp_path, tone["bytes"]


def hub(dataset, **more):
    columns = {"question": "sentence", "question_audio": "audio"}
    return {"kind": "hub", "dataset": str(dataset), "columns": columns, **more}


@pytest.mark.parametrize("copy", ["talks", "saved", "talks/data/train-00000-of-00001.parquet"])
def test_a_local_copy_of_a_hub_dataset_keeps_its_audio_undecoded(hub_copies, copy):
    folder, wav = hub_copies
    pairs = read_source(hub(folder / copy, limit=2), folder / "dataset")
    assert [(pair.question, pair.answer) for pair in pairs] == [("Say 0.", None), ("Say 1.", None)]
    assert kept(pairs[1], folder / "dataset") == wav
    name = copy.rpartition("/")[2]
    assert pairs[1].source == (f"{name}:2" if name.endswith(".parquet") else f"{name}/train:2")


def test_what_is_no_dataset_or_split_or_column_is_refused_by_name(hub_copies):
    folder, _ = hub_copies
    with pytest.raises(SetupError, match=r"no-such/place does not exist, and is no hub id"):
        read_source(hub("./no-such/place"), folder / "dataset")
    with pytest.raises(SetupError, match=r"cannot be opened.*train"):
        read_source(hub(folder / "talks", split="test"), folder / "dataset")
    with pytest.raises(SetupError, match=r"no column 'question' in talks; it has: sentence, audio"):
        read_source({"kind": "hub", "dataset": str(folder / "talks")}, folder / "dataset")


def test_a_dataset_is_built_from_audio_that_was_streamed_and_keeps_no_copy_of_it(hub_copies, fake_recipe):
    folder, _ = hub_copies
    # Three conversations of the same words would be repeats but for their turns' recordings.
    recipe = fake_recipe(source=hub(folder / "talks"))
    summary = build(recipe, folder / "out", local=True)
    assert summary.rows_accepted == 3
    assert check(folder / "out").problems == []
    assert list((folder / "out" / "plan").glob("kept-*")) == []


@pytest.fixture
def mixed(tmp_path):
    """Two tables of sixty and of six conversations of two turns."""
    for name, count in (("many", 60), ("few", 6)):
        rows = [
            {"question": f"{name} {n}?", "answer": "A.", "conversation": n // 2, "turn": n % 2}
            for n in range(2 * count)
        ]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    return [str(tmp_path / "many.jsonl"), {"source": str(tmp_path / "few.jsonl"), "weight": 0.5}]


def conversations(pairs):
    return [name for name, _ in itertools.groupby((pair.split_name, pair.conversation) for pair in pairs)]


def test_a_mix_gives_each_part_its_share_at_any_point(mixed, tmp_path):
    pairs = read_source({"kind": "mix", "parts": mixed, "limit": 15}, tmp_path)
    found = [split_name for split_name, _ in conversations(pairs)]
    assert (found.count("many"), found.count("few")) == (10, 5)
    assert found[:3] == ["many", "many", "few"]
    assert len(pairs) == 30
    assert pairs == read_source({"kind": "mix", "parts": mixed, "limit": 15}, tmp_path)


def test_a_mix_without_a_limit_leaves_nothing_out(mixed, tmp_path):
    pairs = read_source(mixed, tmp_path)
    assert len(set(conversations(pairs))) == len(conversations(pairs)) == 66


def test_limits_of_parts_count_too(mixed, tmp_path):
    parts = [{"source": {"kind": "jsonl", "path": mixed[0], "limit": 2}}, mixed[1]]
    assert len(conversations(read_source(parts, tmp_path))) == 8


def test_the_stamp_of_a_mix_is_that_of_its_files(mixed):
    assert len(stamp(source_of([*mixed, "bundled"]))) == 2


@pytest.fixture(scope="module")
def sentence():
    """A spoken sentence at 16 kHz."""
    voice = load_voice("hibari:heart")
    [spoken] = voice.speak([SpeakRequest("The ferry leaves the harbour at nine.", seed=1)])
    return resample(spoken, voice.sample_rate_hz, 16_000)


def long_recording(sentence):
    """Thirty sentences, over a minute; after each tenth a pause of two seconds."""
    pauses = [np.zeros(32_000 if n % 10 == 9 else 8_000, np.float32) for n in range(30)]
    return np.concatenate([part for pause in pauses for part in (sentence, pause)])


def to_m4a(source, target):
    """Encode with the ffmpeg that comes with the package."""
    [ffmpeg] = (Path(imageio_ffmpeg.__file__).parent / "binaries").glob("ffmpeg-*")
    subprocess.run([ffmpeg, "-v", "error", "-i", source, target], check=True)


@pytest.mark.parametrize("ending", ["flac", "m4a"])
def test_a_long_recording_is_cut_where_nobody_speaks(tmp_path, sentence, ending):
    whole = long_recording(sentence)
    soundfile.write(tmp_path / "talk.flac", whole, 16_000)
    path = tmp_path / f"talk.{ending}"
    if ending == "m4a":
        to_m4a(tmp_path / "talk.flac", path)
    pieces = list(cut_at_silences(read_in_blocks(path), SileroVad()))
    ends = [start_s + len(piece) / 16_000 for start_s, piece in pieces]
    assert all(2 < len(piece) / 16_000 < 29 for _, piece in pieces)
    # No piece overlaps another, and what lies between them is silence.
    starts = [start_s for start_s, _ in pieces]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    heard = np.concatenate([piece for _, piece in pieces])
    assert np.square(heard).sum() == pytest.approx(np.square(whole).sum(), rel=0.02)


def test_pieces_of_a_recording_are_rows_that_say_where_they_are_from(tmp_path, sentence):
    (tmp_path / "talks").mkdir()
    soundfile.write(tmp_path / "talks" / "long.flac", long_recording(sentence), 16_000)
    soundfile.write(tmp_path / "talks" / "short.ogg", sentence, 16_000)
    soundfile.write(tmp_path / "talks" / "silent.wav", np.zeros(16_000 * 40), 16_000)
    found = read("recordings", tmp_path / "talks", transcribe=True)
    pieces, [short] = found[:-2], [pair for pair in found if pair.source == "short.ogg"]
    assert short.question is None
    assert short.question_recording.path.endswith("short.ogg")
    assert [bad.reason for bad in found if isinstance(bad, BadPair)] == ["no_speech"]
    assert len(pieces) >= 3
    assert all(piece.source.startswith("long.flac ") and piece.source.endswith(" s") for piece in pieces)
    assert {piece.question_recording.label() for piece in pieces} == {f"recording:{piece.source}" for piece in pieces}
    assert len({piece.conversation for piece in pieces}) == len(pieces)
    assert len({split_of([piece], Split(validation=0.5)) for piece in pieces}) == 1


def test_without_a_transcript_the_row_says_what_was_heard(tmp_path, sentence, fake_recipe):
    (tmp_path / "talks").mkdir()
    soundfile.write(tmp_path / "talks" / "one.wav", sentence, 16_000)
    soundfile.write(tmp_path / "talks" / "one.answer.wav", sentence, 16_000)
    soundfile.write(tmp_path / "talks" / "two.wav", 0.1 * np.sin(np.arange(16_000) / 9), 16_000)
    recipe = fake_recipe(
        source={"kind": "recordings", "path": str(tmp_path / "talks"), "transcribe": True},
        features={"model": "tiny.en"},
    )
    summary = build(recipe, tmp_path / "out", local=True, **{"resources.hearing": 1})
    [shard] = (tmp_path / "out" / "shards").iterdir()
    [row] = [row for row in pa.ipc.open_file(shard).read_all().to_pylist() if row["conversation"] == "one"]
    assert "leaves the harbor" in row["question"].lower()
    assert row["answer"] == row["answer_transcript"]
    assert row["answer_codes"]
    assert (row["question_wer"], row["answer_cer"]) == (None, None)
    assert summary.rows_accepted + summary.reasons.get("empty_transcript", 0) == 2
    assert check(tmp_path / "out").problems == []
