"""Recordings with their transcripts, or without: then what they say is heard later, and long ones are cut first."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from anytalk.pipelines.recipe import Recordings
from anytalk.synth.audio import flac_bytes
from anytalk.synth.errors import SampleError
from anytalk.synth.judge import Vad, load_vad
from anytalk.synth.recording import ChannelChoice

from .attachment import Attachments
from .cut import RATE_HZ, channel_count, cut_at_silences, read_in_blocks, seconds_over
from .folder import folder_pairs
from .pair import BadPair, Pair
from .table import file_pairs

LONG_S = 29.5
"""Recordings without a transcript that are longer than this are cut; the encoder hears 30 seconds at once."""


def recording_pairs(source: Recordings, attachments: Attachments) -> Iterator[Pair | BadPair]:
    """Read a folder of recordings, or a table that names them.

    Raises:
        SetupError: it holds none.
    """
    path = Path(source.path)
    found = folder_pairs(source, path) if path.is_dir() else file_pairs(source, attachments)
    if not source.transcribe:
        yield from found
        return
    vad = load_vad()
    for pair in found:
        if isinstance(pair, BadPair) or pair.question is not None or pair.is_answered:
            yield pair
            continue
        for one in _each_channel(pair, source.channel):
            yield from [one] if isinstance(one, BadPair) else _whole_or_cut(one, attachments, vad)


def _each_channel(pair: Pair, channel: ChannelChoice) -> Iterator[Pair | BadPair]:
    """A recording whose channels are to be rows of their own, as one for each; any other as it is."""
    recording = pair.question_recording
    assert recording is not None
    if channel != "split" or recording.row is not None:
        yield pair
        return
    try:
        count = channel_count(Path(recording.path))
        if count > 2:
            raise SampleError("channels_differ", f"split takes two channels; there are {count}")
    except SampleError as error:
        yield BadPair(error.reason, error.detail, pair.source)
        return
    if count < 2:
        yield pair
        return
    for side in ("left", "right"):
        yield dataclasses.replace(
            pair,
            conversation=f"{pair.conversation} {side}",
            question_recording=dataclasses.replace(recording, channel=side),
            source=f"{pair.source} {side}",
            group=pair.group or pair.conversation,
        )


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
        for start_s, piece in cut_at_silences(read_in_blocks(path, recording.channel), vad):
            silent = False
            where = f"{start_s:.2f}-{start_s + len(piece) / RATE_HZ:.2f} s"
            yield dataclasses.replace(
                pair,
                conversation=f"{pair.conversation} {where}",
                question_recording=attachments.add(flac_bytes(piece, RATE_HZ), f"{recording.name} {where}"),
                source=f"{pair.source} {where}",
                group=pair.group or pair.conversation,
            )
        if silent:
            yield BadPair("no_speech", "nobody speaks in it", pair.source)
    except SampleError as error:
        yield BadPair(error.reason, error.detail, pair.source)
