"""Cut long recordings at silences into pieces that fit into the 30 seconds which Whisper hears at once.

The recording passes in blocks, so that its length does not matter. A piece begins and ends where Silero VAD hears
nobody; stretches of speech are joined while they fit and the pause between them is short.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from anytalk.synth.audio import Waveform, check_waveform, read_audio
from anytalk.synth.errors import SampleError
from anytalk.synth.judge.contract import SAMPLE_RATE_HZ, Span, Vad

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

LONGEST_FFMPEG_S = 2 * 3600.0
"""Of formats that libsndfile does not stream, as much is decoded at once: 3 GB for stereo."""


def seconds_over(path: Path, limit_s: float) -> bool:
    """Whether a recording is longer than a limit.

    Raises:
        SampleError: it cannot be decoded.
    """
    try:
        return bool(soundfile.info(str(path)).duration > limit_s)
    except soundfile.LibsndfileError:
        pass
    try:
        read_audio(path, RATE_HZ, max_s=limit_s)
    except SampleError as error:
        if error.reason != "too_long":
            raise
        return True
    return False


def read_in_blocks(path: Path) -> Iterator[Waveform]:
    """Read a recording of any length as blocks of a minute at 16 kHz, mono.

    Raises:
        SampleError: it cannot be decoded, or holds values that are no numbers; or `too_long`: it is over two hours in
            a format that libsndfile does not stream.
    """
    try:
        file = soundfile.SoundFile(str(path))
    except soundfile.LibsndfileError:
        whole = read_audio(path, RATE_HZ, max_s=LONGEST_FFMPEG_S)
        step = int(BLOCK_S * RATE_HZ)
        yield from (whole[start : start + step] for start in range(0, len(whole), step))
        return
    with file:
        to_16k = soxr.ResampleStream(file.samplerate, RATE_HZ, 1, dtype="float32", quality="HQ")
        try:
            for samples_TC in file.blocks(int(BLOCK_S * file.samplerate), dtype="float32", always_2d=True):
                mono = samples_TC.mean(axis=1, dtype=np.float32)
                check_waveform(mono)
                yield to_16k.resample_chunk(mono)
        except soundfile.LibsndfileError as error:
            raise SampleError("undecodable_audio", f"{file.format}: {error}") from error
        yield to_16k.resample_chunk(np.zeros(0, np.float32), last=True)


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
