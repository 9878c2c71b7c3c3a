"""FLAC: a header that promises a number of samples, or 0 where the writer streamed."""

import re
from collections.abc import Iterator

from .container import Content, Part

STREAM_HEAD = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
INFO_BYTES = 42
"""Of the name, the block header and STREAMINFO."""
TAG_BYTES = 128
LEAST_PADDING = 64
OPEN_SAMPLES = 2**36 - 2**16
"""From this value on, a number of samples is a placeholder."""


def flac_parts(content: Content, start: int) -> Iterator[Part]:
    """Find each stream of a file in which one or more stand one after the other.

    The promise is kept for comparison and taken out of the header, as a decoder would stop there.
    """
    starts = [found.start() for found in STREAM_HEAD.finditer(content, start)]
    for begin, end in zip(starts, [*starts[1:], len(content)], strict=True):
        head = bytearray(content[begin : begin + INFO_BYTES])
        if len(head) < INFO_BYTES:
            continue
        promised = (head[21] & 15) << 32 | int.from_bytes(head[22:26], "big")
        head[21] &= 0xF0
        head[22:26] = bytes(4)
        known = promised if 0 < promised < OPEN_SAMPLES else None
        yield Part("FLAC", begin, _without_tail(content, begin, end), bytes(head), samples=known)


def _without_tail(content: Content, begin: int, end: int) -> int:
    """Where the frames end, before a tag of names and titles and before padding, which a decoder takes for frames."""
    if end - begin > TAG_BYTES and content[end - TAG_BYTES : end - TAG_BYTES + 3] == b"TAG":
        end -= TAG_BYTES
    # A frame may end with some zeros of its own.
    zeros = 0
    while zeros < end - begin and content[end - zeros - 1] == 0:
        zeros += 1
    return end - zeros if zeros >= LEAST_PADDING else end
