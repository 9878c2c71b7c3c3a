"""WAV and AIFF: chunks with sizes, which streaming writers leave open and cut files break."""

import re
import struct
from collections.abc import Iterator

from .container import Content, Part, is_chunk_name, is_padding, trailing, truncated

OPEN_SIZE = 0x7FFFFF00
"""From this value on, a size is a placeholder: the writer streamed and did not know the size. So is 0."""

WAV_HEAD = re.compile(rb"(?:RIFF|RIFX|RF64|BW64)....WAVE(?:fmt |JUNK|bext|ds64|LIST|fact|junk)", re.DOTALL)
PLAIN_FORMATS = {1, 3, 6, 7, 0xFFFE}
"""PCM, float, A-law, µ-law, and one of these with a longer header: each sample has its own bytes."""


def wav_parts(content: Content) -> Iterator[Part]:
    """Find each WAV of a file in which one or more stand one after the other.

    Raises:
        SampleError: `truncated_audio` or `trailing_data`.
    """
    start: int | None = 0
    while start is not None:
        part, start = _wav(content, start)
        yield part


def _wav(content: Content, start: int) -> tuple[Part, int | None]:
    """One WAV, and where the next one starts."""
    magic = content[start : start + 4]
    order = ">" if magic == b"RIFX" else "<"
    claimed_riff = struct.unpack(f"{order}I", content[start + 4 : start + 8])[0]
    place, frame_bytes, long_size = start + 12, 0, None
    while place + 8 <= len(content):
        name = content[place : place + 4]
        size = struct.unpack(f"{order}I", content[place + 4 : place + 8])[0]
        if name == b"data":
            break
        if name == b"fmt " and place + 22 <= len(content):
            code, _, _, _, align = struct.unpack(f"{order}HHIIH", content[place + 8 : place + 22])
            frame_bytes = align if code in PLAIN_FORMATS else 0
        if name == b"ds64" and place + 24 <= len(content):
            long_size = struct.unpack("<Q", content[place + 16 : place + 24])[0]
        place += 8 + size + size % 2
    else:
        return Part("WAV", start, len(content)), None
    first = place + 8
    there = len(content) - first
    if size == 0xFFFFFFFF and long_size is not None:
        size = 0 if long_size >= 2**62 else long_size
    # An empty recording says so twice.
    is_open = (size == 0 and not _ends_here(content, first, start + 8 + claimed_riff)) or OPEN_SIZE <= size != there
    if is_open and size > there and size < 2**32 - 2**12 and long_size is not None:
        is_open = False
    if is_open:
        joined = WAV_HEAD.search(content, first)
        end = joined.start() if joined else len(content)
        head = _sized(content[start:first], end - start - 8, end - first, order)
        samples = (end - first) // frame_bytes if frame_bytes else None
        return Part("WAV", start, end, head, samples), joined and joined.start()
    if size > there:
        # Writers that count the header, or the whole file, promise a little too much.
        if size - there not in (8, first - start, first - start - 8):
            raise truncated("WAV", f"{size:,} bytes of samples", f"{there:,}")
        size = there
    end, following = _after(content, first + size, order)
    head = _sized(content[start:first], end - start - 8, size, order) if start or end < len(content) else b""
    return Part("WAV", start, end, head, size // frame_bytes if frame_bytes else None), following


def _ends_here(content: Content, first: int, claimed_end: int) -> bool:
    """Whether nothing but chunks follow a data chunk of size 0."""
    if first >= len(content):
        return True
    return claimed_end >= first and abs(claimed_end - len(content)) <= 1


def _after(content: Content, end: int, order: str) -> tuple[int, int | None]:
    """Pass the chunks behind the samples: where the file ends, and where another one begins."""
    place = end
    while place < len(content):
        # Some writers leave out the byte that makes a chunk even.
        for here in (place + (place % 2), place):
            if WAV_HEAD.match(content[here : here + 16]):
                return here, here
            if is_chunk_name(content[here : here + 4]) and here + 8 <= len(content):
                size = struct.unpack(f"{order}I", content[here + 4 : here + 8])[0]
                if here + 8 + size <= len(content):
                    place = here + 8 + size
                    break
        else:
            if is_padding(content[place:]) or (place % 2 and len(content) - place == 1):
                return place, None
            raise trailing("WAV", len(content) - place)
    return min(place, len(content)), None


def _sized(head: bytes, riff_size: int, size: int, order: str) -> bytes:
    """A WAV header with other sizes."""
    changed = bytearray(head)
    magic = b"RIFF" if head[:4] in (b"RF64", b"BW64") and riff_size < OPEN_SIZE else head[:4]
    changed[:4] = magic
    if magic in (b"RIFF", b"RIFX"):
        struct.pack_into(f"{order}I", changed, 4, min(riff_size, 0xFFFFFFFF))
        struct.pack_into(f"{order}I", changed, len(changed) - 4, min(size, 0xFFFFFFFF))
    return bytes(changed)


def aiff_parts(content: Content) -> Iterator[Part]:
    """Find the one AIFF of a file.

    Raises:
        SampleError: `truncated_audio` or `trailing_data`.
    """
    place, samples = 12, None
    while place + 8 <= len(content):
        name, size = struct.unpack(">4sI", content[place : place + 8])
        there = len(content) - place - 8
        if name == b"COMM" and there >= 8:
            samples = struct.unpack(">I", content[place + 10 : place + 14])[0]
        if name == b"SSND":
            if size > there and size < OPEN_SIZE:
                raise truncated("AIFF", f"{size:,} bytes of samples", f"{there:,}")
            if size == 0 or size >= OPEN_SIZE:
                samples = None
        elif name == b"FORM":
            raise trailing("AIFF", len(content) - place)
        place += 8 + size + size % 2
    yield Part("AIFF", 0, len(content), samples=samples)
