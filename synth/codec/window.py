"""Where utterances are cut for a network, and which of the pieces run at once.

A network takes equal lengths, and padding would change the last codes of what is shorter. So on a CPU utterances of
equal frame counts share a batch, and long ones run in chunks with the context that the network hears. On a GPU batches
must be large: all windows, context included, of utterances that are longer than one are of one length, whatever the
utterances' own, and share batches. Where the cuts are follows from the utterance alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A part of an utterance that runs at once, in frames.

    Attributes:
        place: of the utterance.
        first, last: what is kept of the result: from this frame to before that one.
        start, end: what runs, context included.
    """

    place: int
    first: int
    last: int
    start: int
    end: int


@dataclass(frozen=True)
class Cutting:
    """How utterances are cut.

    Attributes:
        frames: of a chunk, without its context; or of a window, with it.
        batch_frames: of a batch, at most; a window that has more runs alone.
        equal: whether windows are of one length, and those of all utterances share batches.
    """

    frames: int
    batch_frames: int
    equal: bool


CHUNK_FRAMES = 256
"""Frames that run through a network at once (22 s): long enough that the overlap costs little."""
ON_CPU = Cutting(CHUNK_FRAMES, 4 * CHUNK_FRAMES, equal=False)
ON_GPU = Cutting(48, 2048, equal=True)
"""Windows of 4.1 s, of which SNAC's context takes an eighth: nearly all answers are longer. Batches of 175 s."""


def in_batches(
    counts: Sequence[int],
    left: int,
    right: int,
    cutting: Cutting,
    run: Callable[[list[Window]], np.ndarray],
    grid: int = 1,
) -> list[np.ndarray]:
    """Run utterances of any lengths through a network that takes equal ones.

    Args:
        counts: frames of each utterance, at least one.
        left: frames of context before what is kept.
        right: frames of context after it.
        cutting: where they are cut, and what shares a batch.
        run: from windows of one length to results (B, F, ...).
        grid: the first frame of a window is a multiple of this.

    Returns:
        For each utterance its result, frames first.
    """
    cut = _equal_windows if cutting.equal else _chunks
    alike: dict[tuple[int, int], list[Window]] = {}
    for place, count in enumerate(counts):
        for window in cut(place, count, left, right, cutting.frames, grid):
            key = (window.end - window.start, 0) if cutting.equal else (count, window.first)
            alike.setdefault(key, []).append(window)
    parts: list[dict[int, np.ndarray]] = [{} for _ in counts]
    for (length, _), windows in alike.items():
        width = max(1, cutting.batch_frames // (length if cutting.equal else min(length, cutting.frames)))
        for first in range(0, len(windows), width):
            some = windows[first : first + width]
            for window, result in zip(some, run(some), strict=True):
                parts[window.place][window.first] = result[window.first - window.start : window.last - window.start]
    return [np.concatenate([found[first] for first in sorted(found)]) for found in parts]


def _chunks(place: int, count: int, left: int, right: int, frames: int, grid: int) -> Iterator[Window]:
    """Chunks of so many frames, each with its context."""
    for first in range(0, count, frames):
        last = min(count, first + frames)
        yield Window(place, first, last, max(0, first - left) // grid * grid, min(count, last + right))


def _equal_windows(place: int, count: int, left: int, right: int, frames: int, grid: int) -> Iterator[Window]:
    """Windows of one length, of which the last one begins so early that it ends with the utterance.

    Where windows begin on a grid, the last one may be longer by less than the grid; a short utterance is one window.
    """
    length = max(frames, 4 * (left + right) + grid)
    first = start = 0
    while start + length < count:
        last = start + length - right
        yield Window(place, first, last, start, start + length)
        first, start = last, (last - left) // grid * grid
    yield Window(place, first, count, max(0, min(start, (count - length) // grid * grid)), count)
