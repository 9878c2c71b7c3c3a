"""Cut long recordings at silences into pieces that fit into the 30 seconds which Whisper hears at once.

The recording passes in blocks, so that its length does not matter. A piece begins and ends where Silero VAD hears
nobody; stretches of speech are joined while they fit and the pause between them is short.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import soxr

from anytalk.synth.audio import Waveform, check_waveform
from anytalk.synth.judge.contract import SAMPLE_RATE_HZ, Span, Vad
from anytalk.synth.recording import ChannelChoice, chosen, decoded_parts, to_mono

RATE_HZ = SAMPLE_RATE_HZ
BLOCK_S = 60.0
LONGEST_PIECE_S = 28.0
LONGEST_PAUSE_S = 1.0
"""A longer pause always parts two pieces; the checks allow one of 1.5 s by default."""
MARGIN_S = 0.15
"""Of the silence around a piece, what stays with it."""
SEARCH_S = 6.0
"""Speech without a pause is cut at the quietest point of the last seconds of what fits."""
QUIET_SAMPLES = RATE_HZ // 5


def seconds_over(path: Path, limit_s: float) -> bool:
    """Whether more than some seconds come out of a recording, whatever its header claims.

    Raises:
        SampleError: it cannot be decoded, or is not what it claims to be.
    """
    length_s = 0.0
    with closing(decoded_parts(path)) as parts:
        for part in parts:
            for block in part.blocks:
                length_s += len(block) / part.rate_hz
                if length_s > limit_s:
                    return True
    return False


def channel_count(path: Path) -> int:
    """How many channels a recording has, at most.

    Raises:
        SampleError: it cannot be decoded.
    """
    with closing(decoded_parts(path)) as parts:
        return next((part.channels for part in parts), 0)


def read_in_blocks(path: Path, channel: ChannelChoice = "auto") -> Iterator[Waveform]:
    """Read a recording of any length as blocks of a minute at 16 kHz, mono.

    It is decoded twice where which channel counts is to be found out, as that takes all of it.

    Raises:
        SampleError: it cannot be decoded, is not what it claims to be, or holds values that are no numbers; or
            `channels_differ`.
    """
    with closing(decoded_parts(path)) as parts:
        choices = [chosen(part.blocks, part.rate_hz, part.channels, channel) for part in parts]
    with closing(decoded_parts(path)) as parts:
        for part, choice in zip(parts, choices, strict=True):
            to_16k = soxr.ResampleStream(part.rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
            for mono in _joined((to_mono(block, choice) for block in part.blocks), int(BLOCK_S * part.rate_hz)):
                check_waveform(mono)
                yield to_16k.resample_chunk(mono)
            yield to_16k.resample_chunk(np.zeros(0, np.float32), last=True)


def _joined(blocks: Iterable[Waveform], samples: int) -> Iterator[Waveform]:
    """The same samples in blocks of one length, which what follows is worth starting for; the last one is shorter."""
    held: list[Waveform] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        while count >= samples:
            whole = np.concatenate(held)
            yield whole[:samples]
            held, count = [whole[samples:]], count - samples
    if count:
        yield np.concatenate(held)


def cut_at_silences(blocks: Iterable[Waveform], vad: Vad) -> Iterator[tuple[float, Waveform]]:
    """Find the pieces of a recording in which somebody speaks.

    Args:
        blocks: the recording at 16 kHz, a minute or so at once.
        vad: hears where somebody speaks.

    Returns:
        Where each piece starts, in seconds, and the piece; none is longer than 28.3 seconds.
    """
    held, held_from = np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block])
        # The last piece may go on in the next block.
        *whole, last = _pieces(held, vad) or [(max(0, len(held) - RATE_HZ), len(held))]
        for start, end in whole:
            yield (held_from + start) / RATE_HZ, held[start:end]
        held, held_from = held[last[0] :], held_from + last[0]
    for start, end in _pieces(held, vad):
        yield (held_from + start) / RATE_HZ, held[start:end]


def _pieces(waveform: Waveform, vad: Vad) -> list[tuple[int, int]]:
    """Pieces of a stretch of a recording: first and last sample."""
    spans = [part for span in vad.speech_spans(waveform) for part in _short(waveform, span)]
    joined: list[Span] = []
    for start_s, end_s in spans:
        if joined and start_s - joined[-1][1] <= LONGEST_PAUSE_S and end_s - joined[-1][0] <= LONGEST_PIECE_S:
            joined[-1] = (joined[-1][0], end_s)
        else:
            joined.append((start_s, end_s))
    ends = [0.0, *(end_s for _, end_s in joined)]
    starts = [*(start_s for start_s, _ in joined), len(waveform) / RATE_HZ]
    # Neighbours share the silence between them; the outer ones have theirs to themselves.
    margins = [
        min(MARGIN_S, (start - end) / (2 if 0 < number < len(joined) else 1))
        for number, (end, start) in enumerate(zip(ends, starts, strict=True))
    ]
    return [
        (round((start_s - margins[number]) * RATE_HZ), round((end_s + margins[number + 1]) * RATE_HZ))
        for number, (start_s, end_s) in enumerate(joined)
    ]


def _short(waveform: Waveform, span: Span) -> list[Span]:
    """Cut a span that is too long by itself, each time at the quietest point near the end of what fits."""
    start_s, end_s = span
    parts = []
    while end_s - start_s > LONGEST_PIECE_S:
        first = int((start_s + LONGEST_PIECE_S - SEARCH_S) * RATE_HZ)
        stretch = waveform[first : int((start_s + LONGEST_PIECE_S) * RATE_HZ)].astype(np.float64)
        sums = np.cumsum(np.square(stretch))
        energy = sums[QUIET_SAMPLES:] - sums[:-QUIET_SAMPLES]
        cut_s = (first + int(np.argmin(energy)) + QUIET_SAMPLES // 2) / RATE_HZ
        parts.append((start_s, cut_s))
        start_s = cut_s
    return [*parts, (start_s, end_s)]
