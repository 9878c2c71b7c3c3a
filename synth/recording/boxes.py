"""MP4, Matroska and ASF: boxes with sizes, which ffmpeg reads; here only where one file ends and another begins."""

import re
from collections.abc import Iterator

from .container import Content, Part, is_chunk_name, is_padding, trailing, truncated

MATROSKA_HEAD = re.compile(rb"\x1a\x45\xdf\xa3.{1,80}?(?:webm|matroska)", re.DOTALL)

ASF_HEAD = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""Of its properties: 40 bytes on stands the size of the whole file, 0 while it is streamed."""


def mp4_parts(content: Content) -> Iterator[Part]:
    """Walk the outermost boxes.

    Raises:
        SampleError: `truncated_audio` or `trailing_data`.
    """
    start = place = 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        name = content[place + 4 : place + 8]
        if not is_chunk_name(name) or (size < 8 and size not in (0, 1)):
            if is_padding(content[place:]):
                break
            raise trailing("MP4", len(content) - place)
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        end = len(content) if size == 0 else place + max(size, 8)
        if end > len(content):
            raise truncated("MP4", f"{size:,} bytes of {name.decode('latin-1')!r}", f"{len(content) - place:,}")
        if name == b"ftyp" and place > start:
            yield Part("MP4", start, place, decoder="ffmpeg")
            start = place
        place = end
    yield Part("MP4", start, place, decoder="ffmpeg")


def matroska_parts(content: Content) -> Iterator[Part]:
    """Find where another file begins."""
    starts = [found.start() for found in MATROSKA_HEAD.finditer(content)] or [0]
    for begin, end in zip(starts, [*starts[1:], len(content)], strict=True):
        yield Part("Matroska", begin, end, decoder="ffmpeg")


def asf_parts(content: Content) -> Iterator[Part]:
    """See that all of it is there.

    Raises:
        SampleError: `truncated_audio`.
    """
    place = content.find(ASF_FILE, 0, 2**16)
    size = int.from_bytes(content[place + 40 : place + 48], "little") if place >= 0 else 0
    if size > len(content):
        raise truncated("ASF", f"{size:,} bytes", f"{len(content):,}")
    yield Part("ASF", 0, len(content), decoder="ffmpeg")
