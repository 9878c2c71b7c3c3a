"""Windows for a transcript: how much the encoder is shown, where long speech is cut, when to listen again.

Whisper was trained on 30 seconds and nothing else. On fewer it still transcribes, at a fraction of the cost, but
without silence after the speech tiny.en does not find the end: it says the last sentence twice, or for ever. So windows
come in a few fixed lengths and leave a tail of silence, and a transcript that repeats its end is not believed.
"""

from collections.abc import Sequence

import numpy as np

from anytalk.synth.audio import Waveform

from .contract import CONTEXT_SAMPLES, FRAME_SAMPLES, SAMPLE_RATE_HZ

WINDOWS_S = (8, 16, 30)
TAIL_S = 2.0
"""Silence that a window shorter than 30 seconds has at least after the speech."""

LONGEST_PIECE_S = 29.0
SEARCH_S = 6.0
"""Long speech is cut at the quietest point of the last seconds of a piece."""

REPEATED_TOKENS = 6


def window_samples(samples: int) -> int:
    """Choose the window of an utterance of at most 30 seconds.

    Args:
        samples: its length at 16 kHz.

    Returns:
        Length of the shortest window with a tail of silence, else of the whole context, in samples.

    >>> [window_samples(seconds * 16_000) // 16_000 for seconds in (1, 6, 7, 14, 15, 30)]
    [8, 8, 16, 16, 30, 30]
    """
    for window_s in WINDOWS_S:
        if samples + TAIL_S * SAMPLE_RATE_HZ <= window_s * SAMPLE_RATE_HZ:
            return window_s * SAMPLE_RATE_HZ
    return CONTEXT_SAMPLES


def cut_long(waveform_16k: Waveform) -> list[Waveform]:
    """Cut speech into pieces that fit into the context, each at the quietest point near its end.

    Args:
        waveform_16k: float32 at 16 kHz, of any length.

    Returns:
        Views of it, in order, nothing left out; one piece if it is no longer than 30 seconds.
    """
    pieces = []
    rest = waveform_16k
    while len(rest) > CONTEXT_SAMPLES:
        last = int(LONGEST_PIECE_S * SAMPLE_RATE_HZ)
        first = last - int(SEARCH_S * SAMPLE_RATE_HZ)
        cut = first + _quietest(rest[first:last])
        pieces.append(rest[:cut])
        rest = rest[cut:]
    return [*pieces, rest]


def _quietest(stretch: Waveform) -> int:
    """Find the sample in the middle of the 200 ms with the least energy."""
    blocks = np.square(stretch[: len(stretch) // FRAME_SAMPLES * FRAME_SAMPLES], dtype=np.float64)
    energy = blocks.reshape(-1, FRAME_SAMPLES).sum(axis=1)
    width = SAMPLE_RATE_HZ // 5 // FRAME_SAMPLES
    around = np.convolve(energy, np.ones(width), mode="valid")
    return int((np.argmin(around) + width / 2) * FRAME_SAMPLES)


def is_doubtful(tokens: Sequence[int]) -> bool:
    """Tell whether a transcript is empty, or looks like the loop that a recogniser falls into.

    Args:
        tokens: ids of the transcript.

    Returns:
        Whether there is none, its end follows a copy of itself, or its last six tokens stand somewhere before
        as well. A person may say a thing twice, so this is a reason to listen again, not to throw away.

    >>> is_doubtful([5, 6, 7, 5, 6, 7]), is_doubtful([5, 6, 7, 5, 6])
    (True, False)
    """
    tokens = list(tokens)
    count = len(tokens)
    if any(tokens[-width:] == tokens[-2 * width : -width] for width in range(1, count // 2 + 1)):
        return True
    end = tokens[-REPEATED_TOKENS:]
    return count == 0 or any(tokens[first : first + REPEATED_TOKENS] == end for first in range(count - REPEATED_TOKENS))
