"""Sources: every row of a table or folder comes out as a pair, or with the reason why not."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from anytalk.pipelines.recipe import Source
from anytalk.pipelines.source import BadPair, Pair, read_pairs, stamp
from anytalk.synth.errors import SetupError

ROWS = [
    {"question": "Who are you?", "answer": "I am Robin."},
    {"question": "What is  two\nand two?", "answer": "Four."},
]


def read(kind, path, **more):
    return list(read_pairs(Source(kind=kind, path=str(path), **more)))


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


def test_the_bundled_corpus_is_large_and_varied():
    pairs = list(read_pairs(Source(kind="bundled")))
    assert all(isinstance(pair, Pair) for pair in pairs)
    assert len(pairs) >= 200
    kinds = {pair.split_name for pair in pairs}
    assert kinds == {"identity", "everyday", "instruction", "trivia", "trivia_choice", "dialogue"}
    assert any(pair.turn == 2 for pair in pairs)
    assert len({pair.question for pair in pairs}) == len(pairs)


def test_a_changed_file_has_another_stamp(tmp_path):
    path = write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    source = Source(kind="jsonl", path=str(path))
    before = stamp(source)
    write_jsonl(path, [*ROWS, ROWS[0]])
    assert stamp(source) != before


@pytest.mark.parametrize("kind", ["jsonl", "recordings"])
def test_a_missing_source_is_refused_by_name(tmp_path, kind):
    with pytest.raises(SetupError, match="does not exist"):
        read(kind, tmp_path / "gone")
