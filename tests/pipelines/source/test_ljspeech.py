"""Folders as LJSpeech has them, with or without speakers; and what becomes of the speakers."""

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pydantic import TypeAdapter

from anytalk.pipelines import build, check
from anytalk.pipelines.plan import split_of
from anytalk.pipelines.recipe import LjSpeech, Recordings, Source, Split, Table
from anytalk.pipelines.report import Selection, select
from anytalk.pipelines.source import Pair, read_pairs
from anytalk.synth.errors import SetupError

DOOR, RAIN = "Please close the door.", "It will rain at 5."
SPOKEN = "It will rain at five."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set" / "wavs").mkdir(parents=True)
    for name in ("A-001.wav", "A-002.wav"):
        tone = 0.1 * np.sin(np.arange(16_000) * 0.2 * (1 + int(name[4])))
        soundfile.write(tmp_path / "set" / "wavs" / name, tone, 16_000)
    return tmp_path / "set"


def read(folder, lines, **more):
    (folder / "metadata.csv").write_text("\n".join(lines))
    source = {"kind": "ljspeech", "path": str(folder), **more}
    return list(read_pairs(TypeAdapter(Source).validate_python(source)))


def said(rows):
    return [
        (row.question, row.question_written, row.question_speaker, row.question_recording.name)
        if isinstance(row, Pair)
        else (row.source, row.reason)
        for row in rows
    ]


@pytest.mark.parametrize(
    ("lines", "speaker"),
    [
        ([f"A-001|{DOOR}|{DOOR}", f"A-002|{RAIN}|{SPOKEN}"], None),
        ([f"A-001|p1|{DOOR}|{DOOR}", f"A-002|p1|{RAIN}|{SPOKEN}"], "p1"),
        (
            [
                "file_name,transcription,normalized,speaker_id",
                f"wavs/A-001.wav,{DOOR},,p1",
                f"A-002,{RAIN},{SPOKEN},p1",
            ],
            "p1",
        ),
    ],
)
def test_the_normalised_text_is_what_was_said_and_the_other_one_is_kept(folder, lines, speaker):
    wanted = [(DOOR, DOOR, speaker, "A-001.wav"), (SPOKEN, RAIN, speaker, "A-002.wav")]
    assert said(read(folder, lines)) == wanted


def test_every_line_and_every_recording_is_a_row_or_a_reject(folder):
    rows = read(folder, [f'A-001|"{DOOR}', "", f"A-009|{DOOR}", "A-002"])
    assert said(rows) == [
        (f'"{DOOR}', f'"{DOOR}', None, "A-001.wav"),
        ("metadata.csv:3", "missing_audio"),
        ("metadata.csv:4", "malformed_row"),
        ("wavs/A-002.wav", "unused_file"),
    ]


def test_recordings_are_found_in_any_subfolder(folder):
    (folder / "clips" / "p1").mkdir(parents=True)
    (folder / "wavs" / "A-001.wav").rename(folder / "clips" / "p1" / "A-001.wav")
    assert [row.question for row in read(folder, [f"A-001|{DOOR}", f"data/A-002.mp3|{RAIN}"])] == [DOOR, RAIN]
    (folder / "clips" / "A-001.flac").write_bytes((folder / "clips" / "p1" / "A-001.wav").read_bytes())
    several = read(folder, [f"A-001|{DOOR}", f"A-002|{RAIN}"])[0]
    assert (
        several.detail
        == "several recordings are called 'A-001': clips/A-001.flac, clips/p1/A-001.wav; name the folder, too"
    )


def test_a_set_without_recordings_is_one_line(folder):
    for path in (folder / "wavs").iterdir():
        path.unlink()
    with pytest.raises(SetupError, match=r"set holds no recordings for metadata\.csv; known: .*\.wav"):
        read(folder, [f"A-001|{DOOR}", f"A-002|{RAIN}"])


def test_a_speaker_in_the_place_of_the_text_is_one_line_that_says_so(folder):
    lines = [f"A-001|p225|{DOOR}", f"A-002|p225|{RAIN}"]
    with pytest.raises(SetupError, match=r"looks like a speaker \('p225'\).*source\.fields=\[id, speaker, text\]"):
        read(folder, lines)
    rows = read(folder, lines, fields=["id", "speaker", "text"])
    assert [row[:3] for row in said(rows)] == [(DOOR, DOOR, "p225"), (RAIN, RAIN, "p225")]


def test_a_speaker_behind_the_text_is_one_line_that_says_so(folder):
    lines = [f"wavs/A-001.wav|{DOOR}|0", f"wavs/A-002.wav|{RAIN}|0"]
    with pytest.raises(SetupError, match=r"third field .* speaker \('0'\).*source\.fields=\[id, text, speaker\]"):
        read(folder, lines)
    rows = read(folder, lines, fields=["id", "text", "speaker"])
    assert [(row.question, row.question_speaker) for row in rows] == [(DOOR, "0"), (RAIN, "0")]


def test_tabs_part_fields_too_and_commas_take_a_header(folder):
    assert [row.question for row in read(folder, [f"A-001\t{DOOR}", f"A-002\t{RAIN}"])] == [DOOR, RAIN]
    with pytest.raises(SetupError, match=r"neither bars nor tabs.* write the header file_name,transcription above"):
        read(folder, [f"A-001,{DOOR}"])


@pytest.mark.parametrize(
    ("name", "lines", "told"),
    [
        ("train.txt", [f"wavs/A-001.wav|{DOOR}"], r"--set 'source=\{kind: ljspeech, path: .*, metadata: train\.txt\}'"),
        ("list.tsv", [f"A-001\t{DOOR}"], r"--set 'source=\{kind: ljspeech, path: .*, metadata: list\.tsv\}'"),
        (
            "pairs.csv",
            ["question,question_audio", f"{DOOR},wavs/A-001.wav"],
            r"is read as a table: --set source=.*pairs",
        ),
    ],
)
def test_a_folder_whose_transcripts_stand_in_a_table_is_one_line_that_says_how_it_is_read(folder, name, lines, told):
    (folder / "notes.txt").write_text("Nothing of use.")
    (folder / name).write_text("\n".join(lines))
    with pytest.raises(SetupError, match=told):
        list(read_pairs(Recordings(kind="recordings", path=str(folder))))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "recordings"}, r"kind ljspeech: --set 'source=\{kind: ljspeech, path: .*set\}'"),
        ({"kind": "csv"}, r"is a folder; .* ljspeech where it has a metadata\.csv"),
        ({"kind": "ljspeech", "metadata": "none.csv"}, r"has no none\.csv.*--set 'source=\{kind: recordings"),
        ({"kind": "ljspeech", "metadata": "five.csv"}, r"has 5 fields; say what they are"),
    ],
)
def test_a_wrong_guess_of_the_kind_names_the_right_one(folder, source, message):
    (folder / "metadata.csv").write_text(f"A-001|{DOOR}")
    (folder / "five.csv").write_text("A-001|a|b|c|d")
    with pytest.raises(SetupError, match=message):
        list(read_pairs(TypeAdapter(Source).validate_python(source | {"path": str(folder)})))


def test_the_table_of_a_set_is_read_by_its_folder(folder):
    read(folder, [f"A-001|{DOOR}|{DOOR}"])
    with pytest.raises(SetupError, match=r"is a file; .*--set 'source=\{kind: ljspeech, path: .*set\}'"):
        list(read_pairs(LjSpeech(kind="ljspeech", path=str(folder / "metadata.csv"))))
    with pytest.raises(SetupError, match=r"two columns .*; lines of id\|text\|text are of the kind ljspeech"):
        list(read_pairs(Table(kind="csv", path=str(folder / "metadata.csv"))))


def pair(name, speaker):
    return Pair("set", name, 0, "Q?", "A.", "en", question_speaker=speaker)


def test_splits_by_speaker_hold_all_that_one_says():
    split = Split(validation=0.3, test=0.3, by="speaker")
    found = {speaker: {split_of([pair(str(n), speaker)], split) for n in range(20)} for speaker in map(str, range(30))}
    assert all(len(splits) == 1 for splits in found.values())
    assert {split for splits in found.values() for split in splits} == {"train", "validation", "test"}


def test_a_speaker_who_is_held_out_is_in_that_split_alone():
    split = Split(held_out_voices={"test": ["speaker:ann"]})
    assert {split_of([pair(str(n), "ann")], split) for n in range(9)} == {"test"}
    assert {split_of([pair(str(n), "bob")], split) for n in range(9)} == {"train"}
    assert split_of([pair("c", "bob"), pair("c", "ann")], split) == "test"


def test_speakers_are_columns_of_the_dataset(folder, fake_recipe, tmp_path):
    read(folder, [f"A-001|ann|{DOOR}|{DOOR}", f"A-002|bob|{RAIN}|{SPOKEN}"])
    source = {"kind": "ljspeech", "path": str(folder)}
    held_out = {"held_out_voices": ["speaker:ann"]}
    recipe = fake_recipe(source=source, split=held_out)
    summary = build(recipe, tmp_path / "out", local=True)
    assert summary.splits == {"train": 1, "test": 1}
    assert check(tmp_path / "out").well
    rows = [
        row
        for path in sorted((tmp_path / "out/shards").glob("*.arrow"))
        for row in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist()
    ]
    assert {row["question_speaker"]: row["question"] for row in rows} == {"ann": DOOR, "bob": SPOKEN}
    assert {row["answer_speaker"] for row in rows} == {None}
    [shown], _ = select(str(tmp_path / "out"), Selection(where='question_speaker == "ann"'))
    assert shown["question"] == DOOR
    unknown = fake_recipe(source=source, split={"held_out_voices": ["speaker:eve"]})
    with pytest.raises(SetupError, match="no row has the speaker 'eve'; the source has: ann, bob"):
        build(unknown, tmp_path / "other", local=True)
