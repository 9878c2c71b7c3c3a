"""A folder of recordings: every file is in a row, or is a reject that says why it is in none."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pydantic import TypeAdapter, ValidationError

from anytalk.pipelines import build
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.recipe import Source
from anytalk.pipelines.source import Attachments, BadPair, Pair, read_pairs, stamp
from anytalk.synth.audio import resample
from anytalk.synth.errors import SetupError
from anytalk.synth.voice import SpeakRequest, load_voice

RATE_HZ = 16_000


def tone(seconds=0.5, hz=300.0):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(RATE_HZ * seconds)) / RATE_HZ)).astype(np.float32)


def source_of(path, **more):
    return TypeAdapter(Source).validate_python({"kind": "recordings", "path": str(path), **more})


def read(path, **more):
    attachments = Attachments(Store(path.parent / "dataset"))
    return list(read_pairs(source_of(path, **more), attachments))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "talks"
    path.mkdir()
    return path


def put(folder, **texts):
    """Recordings and their transcripts: `put(folder, one="First.")`."""
    for number, (name, text) in enumerate(texts.items()):
        soundfile.write(folder / f"{name}.wav", tone(hz=200 + 50 * number), RATE_HZ)
        (folder / f"{name}.txt").write_text(text)


def outcomes(rows):
    """What became of each file: its text, or its reason."""
    return {row.source: row.question if isinstance(row, Pair) else row.reason for row in rows}


def test_every_file_is_a_row_or_a_reject(folder):
    put(folder, one="First.", TALK="It rains.", take="Twice.", gone="Where?")
    soundfile.write(folder / "take.flac", tone(hz=700), RATE_HZ)
    (folder / "TALK.wav").rename(folder / "TALK.WAV")
    (folder / "TALK.txt").rename(folder / "TALK.TXT")
    (folder / "gone.wav").unlink()
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "orphan.txt").write_text("Nobody said it.")
    (folder / "notes.md").write_text("# Notes")
    (folder / ".hidden").write_text("")
    shutil.copy(folder / "one.wav", folder / "no-suffix")
    (folder / "no-suffix.txt").write_text("No suffix.")
    (folder / "sub").mkdir()
    put(folder / "sub", one="Below.")
    (folder / "dir.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")).write_bytes((folder / "one.wav").read_bytes())
    assert outcomes(read(folder)) == {
        "TALK.WAV": "It rains.",
        "gone.wav": "missing_audio",
        "no-suffix": "No suffix.",
        "one.wav": "First.",
        "orphan.txt": "missing_audio",
        "pipe.wav": "missing_audio",
        "sub/one.wav": "Below.",
        "take.flac": "Twice.",
        "take.wav": "Twice.",
        "notes.md": "unused_file",
        "caf\\xe9.wav": "unreadable_name",
    }


def test_the_stamp_of_a_folder_is_one_digest_that_changes_with_any_of_its_files(folder):
    put(folder, one="First.", two="Second.")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")).write_bytes(b"")
    [(name, count, digest)] = before = stamp(source_of(folder))
    assert (name, count, len(digest)) == (str(folder), 5, 64)
    assert stamp(source_of(folder)) == before
    (folder / "two.txt").write_text("Another.")
    changed = stamp(source_of(folder))
    assert changed != before
    (folder / "two.txt").rename(folder / "three.txt")
    assert stamp(source_of(folder)) not in (before, changed)


def test_recordings_of_one_name_are_conversations_of_their_own(folder):
    put(folder, take="Twice.")
    soundfile.write(folder / "take.flac", tone(hz=700), RATE_HZ)
    assert {row.conversation for row in read(folder)} == {"take.flac", "take.wav"}


def test_two_answers_of_one_question_are_an_answer_and_a_reject(folder):
    put(folder, **{"q": "Who?", "q.answer": "I."})
    soundfile.write(folder / "q.Answer.flac", tone(hz=700), RATE_HZ)
    found = {row.source: row for row in read(folder)}
    assert found["q.wav"].answer == "I."
    assert {source: row.reason for source, row in found.items() if isinstance(row, BadPair)} == {
        next(source for source in found if source != "q.wav"): "unused_file"
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("“Good morning, everyone.”".encode("cp1252"), "“Good morning, everyone.”"),
        (b"\xef\xbb\xbfPlease close\r\nthe door.", "Please close the door."),
        ("Wie groß?".encode("utf-16"), "Wie groß?"),
        (b"Caf\xc3\xa9 and caf\xe8", "malformed_transcript"),
        (b"Null \x00 here", "malformed_transcript"),
        (b"", ""),
    ],
)
def test_a_transcript_is_read_in_its_encoding_or_named(folder, content, text):
    put(folder, one="?")
    (folder / "one.txt").write_bytes(content)
    assert outcomes(read(folder)) == {"one.wav": text}


def test_a_set_of_one_voice_with_a_metadata_table_is_of_another_kind(folder):
    soundfile.write(folder / "A-001.wav", tone(), RATE_HZ)
    (folder / "metadata.csv").write_text("A-001|Please close the door.|Please close the door.\n")
    with pytest.raises(SetupError, match=r"but metadata\.csv, so that it is of the kind ljspeech"):
        read(folder)


def test_folders_that_link_to_each_other_are_read_once(folder):
    put(folder, one="First.")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    assert outcomes(read(folder)) == {"one.wav": "First."}


# Channels


@pytest.fixture(scope="module")
def sentences():
    """Two spoken sentences at 16 kHz."""
    voice = load_voice("hibari:heart")
    requests = [SpeakRequest(text, seed=1) for text in ("Where is my bag?", "Please close the door now.")]
    return [resample(spoken, voice.sample_rate_hz, RATE_HZ) for spoken in voice.speak(requests)]


def two_talkers(folder, sentences):
    length = max(map(len, sentences))
    padded = [np.pad(sentence, (0, length - len(sentence))) for sentence in sentences]
    soundfile.write(folder / "two.wav", np.stack(padded, axis=1), RATE_HZ, subtype="FLOAT")


def test_split_makes_a_row_of_each_channel(folder, sentences):
    two_talkers(folder, sentences)
    soundfile.write(folder / "one.wav", sentences[0], RATE_HZ)
    rows = read(folder, transcribe=True, channel="split")
    channels = {row.source: row.question_recording.channel for row in rows}
    assert channels == {"one.wav": "auto", "two.wav left": "left", "two.wav right": "right"}
    left, right = (row for row in rows if row.source != "one.wav")
    assert left.recording_hashes() != right.recording_hashes()
    assert left.group == right.group
    with pytest.raises(ValidationError, match="split needs transcribe: true"):
        source_of(folder, channel="split")


@pytest.mark.parametrize(
    ("channel", "wanted"),
    [("auto", set()), ("right", {"door"}), pytest.param("split", {"bag", "door"}, marks=pytest.mark.slow)],
)
def test_two_talkers_are_a_reject_and_a_channel_of_them_is_a_row(
    folder, sentences, tmp_path, fake_recipe, channel, wanted
):
    two_talkers(folder, sentences)
    source = {"kind": "recordings", "path": str(folder), "transcribe": True, "channel": channel}
    recipe = fake_recipe(source=source, features={"model": "tiny.en"})
    summary = build(recipe, tmp_path / "out", local=True, **{"resources.hearing": 1})
    assert summary.reasons == ({} if wanted else {"channels_differ": 1})
    shards = [pa.ipc.open_file(path).read_all() for path in (tmp_path / "out" / "shards").glob("*")]
    questions = [row["question"].lower() for shard in shards for row in shard.to_pylist()]
    assert {word for word in ("bag", "door") for question in questions if word in question} == wanted
