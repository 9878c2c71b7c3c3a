"""Recordings with their transcripts, or without: then what they say is heard later, and long ones are cut first."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from anytalk.pipelines.recipe import Recordings
from anytalk.synth.audio import flac_bytes
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.judge import Vad, load_vad

from .attachment import Attachments, of_file
from .cut import RATE_HZ, cut_at_silences, read_in_blocks, seconds_over
from .pair import BadPair, Pair
from .table import file_pairs

AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "avi", "caf", "flac", "m4a", "m4b", "mka"),
        *("mkv", "mov", "mp2", "mp3", "mp4", "mpeg", "mpg", "oga", "ogg", "opus", "ra", "spx", "tta", "wav", "weba"),
        *("webm", "wma", "wv"),
    )
)
"""What counts as a recording in a folder; a manifest may name any file that ffmpeg reads."""

LONG_S = 29.5
"""Recordings without a transcript that are longer than this are cut; the encoder hears 30 seconds at once."""


def recording_pairs(source: Recordings, attachments: Attachments) -> Iterator[Pair | BadPair]:
    """Read a folder of recordings, or a table that names them.

    Raises:
        SetupError: it holds none.
    """
    path = Path(source.path)
    found = _folder_pairs(source, path) if path.is_dir() else file_pairs(source, attachments)
    if not source.transcribe:
        yield from found
        return
    vad = load_vad()
    for pair in found:
        if isinstance(pair, BadPair) or pair.question is not None or pair.is_answered:
            yield pair
        else:
            yield from _whole_or_cut(pair, attachments, vad)


def _folder_pairs(source: Recordings, folder: Path) -> Iterator[Pair | BadPair]:
    """`NAME.wav` with `NAME.txt` is a question; `NAME.answer.wav` and `NAME.answer.txt` beside it are its answer."""
    paths = {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    }
    if not paths:
        raise SetupError(f"source.path: no recordings in {folder}; known: {', '.join(sorted(AUDIO_SUFFIXES))}")
    names = dict.fromkeys(name.removesuffix(".answer") for name in paths)
    for name in names:
        question_path, answer_path = paths.get(name), paths.get(f"{name}.answer")
        place = str((question_path or paths[f"{name}.answer"]).relative_to(folder))
        question, answer = _transcript(folder, name), _transcript(folder, f"{name}.answer")
        if question is None and not (source.transcribe and question_path):
            yield BadPair("missing_transcript", f"{name}.txt does not exist", place)
        elif answer is None and (answer_path or not question_path) and not (source.transcribe and answer_path):
            yield BadPair("missing_transcript", f"{name}.answer.txt does not exist", place)
        else:
            yield Pair(
                split_name=source.split_name or folder.name,
                conversation=name,
                turn=0,
                question=question,
                answer=answer,
                language=source.language,
                question_recording=of_file(question_path) if question_path else None,
                answer_recording=of_file(answer_path) if answer_path else None,
                source=place,
            )


def _transcript(folder: Path, name: str) -> str | None:
    path = folder / f"{name}.txt"
    return " ".join(path.read_text(encoding="utf-8", errors="replace").split()) if path.is_file() else None


def _whole_or_cut(pair: Pair, attachments: Attachments, vad: Vad) -> Iterator[Pair | BadPair]:
    """A recording that fits stays the file it is; of a long one, each stretch of speech becomes a row."""
    recording = pair.question_recording
    assert recording is not None
    path = Path(recording.path)
    try:
        if recording.row is not None or not seconds_over(path, LONG_S):
            yield pair
            return
        silent = True
        for start_s, piece in cut_at_silences(read_in_blocks(path), vad):
            silent = False
            where = f"{start_s:.2f}-{start_s + len(piece) / RATE_HZ:.2f} s"
            yield dataclasses.replace(
                pair,
                conversation=f"{pair.conversation} {where}",
                question_recording=attachments.add(flac_bytes(piece, RATE_HZ), f"{recording.name} {where}"),
                source=f"{pair.source} {where}",
                group=pair.conversation,
            )
        if silent:
            yield BadPair("no_speech", "nobody speaks in it", pair.source)
    except SampleError as error:
        yield BadPair(error.reason, error.detail, pair.source)
