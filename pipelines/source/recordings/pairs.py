"""Recordings with their transcripts, or without: then what they say is heard later, and long ones are cut first."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from anytalk.pipelines.dataset import local_file
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Recordings
from anytalk.pipelines.source.attachment import Attachments
from anytalk.pipelines.source.pair import BadPair, Pair
from anytalk.pipelines.source.table import file_pairs, is_table
from anytalk.synth.audio import Waveform, flac_bytes
from anytalk.synth.errors import SampleError
from anytalk.synth.judge import load_vad
from anytalk.synth.recording import ChannelChoice
from anytalk.synth.remote import is_url

from .cut import RATE_HZ, channel_count, cut_at_silences, read_in_blocks, seconds_over
from .files import folder_of
from .folder import folder_pairs

LONG_S = 29.5
"""Recordings without a transcript that are longer than this are cut; the encoder hears 30 seconds at once."""


class Listener:
    """Hears where somebody speaks in recordings, and tells how many were heard and how long they are.

    Args:
        progress: who is told.
    """

    def __init__(self, progress: Reporter) -> None:
        self.vad = load_vad()
        self._progress = progress
        self._recordings, self._heard_s = 0, 0.0
        self._tell()

    def pieces(self, path: Path, channel: ChannelChoice) -> Iterator[tuple[float, Waveform]]:
        """Pieces of a recording in which somebody speaks; see `cut_at_silences`."""

        def told() -> Iterator[Waveform]:
            for block in read_in_blocks(path, channel):
                yield block
                self._heard_s += len(block) / RATE_HZ
                self._tell()

        return cut_at_silences(told(), self.vad)

    def done(self) -> None:
        """A recording is done with."""
        self._recordings += 1
        self._tell()

    def _tell(self) -> None:
        note = f"{self._heard_s / 60:,.0f} minutes of long ones cut at pauses" if self._heard_s else ""
        self._progress.phase("listening to recordings", self._recordings, note)


def recording_pairs(source: Recordings, attachments: Attachments, progress: Reporter) -> Iterator[Pair | BadPair]:
    """Read a folder of recordings, or a table that names them.

    Args:
        source: where they are, and whether those without a transcript are taken.
        attachments: keeps pieces of long ones.
        progress: who is told of those.

    Raises:
        SetupError: it holds none.
    """
    is_folder = not is_table(source.path) if is_url(source.path) else Path(source.path).is_dir()
    found = folder_pairs(source, folder_of(source.path)) if is_folder else file_pairs(source, attachments)
    if not source.transcribe:
        yield from found
        return
    listener = Listener(progress)
    for pair in found:
        if isinstance(pair, BadPair) or pair.question is not None or pair.is_answered:
            yield pair
            continue
        for one in _each_channel(pair, source.channel):
            yield from [one] if isinstance(one, BadPair) else _whole_or_cut(one, attachments, listener)
        listener.done()


def _each_channel(pair: Pair, channel: ChannelChoice) -> Iterator[Pair | BadPair]:
    """A recording whose channels are to be rows of their own, as one for each; any other as it is."""
    recording = pair.question_recording
    assert recording is not None
    if channel != "split" or recording.row is not None:
        yield pair
        return
    try:
        with local_file(recording.path) as path:
            count = channel_count(path)
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


def _whole_or_cut(pair: Pair, attachments: Attachments, listener: Listener) -> Iterator[Pair | BadPair]:
    """A recording that fits stays the file it is; of a long one, each stretch of speech becomes a row."""
    recording = pair.question_recording
    assert recording is not None
    if recording.row is not None:
        yield pair
        return
    try:
        with local_file(recording.path) as path:
            if not seconds_over(path, LONG_S):
                yield pair
                return
            silent = True
            for start_s, piece in listener.pieces(path, recording.channel):
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
