"""Ogg: pages with numbers; one stream after the other in a chain."""

from collections.abc import Iterator

from .container import Content, Part, damaged, is_padding, trailing, truncated

MAGIC = b"OggS"
FIRST_PAGE = 2
"""Flag of a page that begins a stream."""


def ogg_parts(content: Content) -> Iterator[Part]:
    """Find each link of a chain.

    Raises:
        SampleError: `truncated_audio`, `trailing_data`, or `damaged_audio` where a page is missing.
    """
    start, place, in_heads = 0, 0, True
    numbers: dict[bytes, int] = {}
    while place < len(content):
        if content[place : place + 4] != MAGIC:
            if is_padding(content[place:]):
                break
            if content.find(MAGIC, place) >= 0:
                raise damaged("Ogg", f"what stands at byte {place:,} is no page")
            raise trailing("Ogg", len(content) - place)
        end = _page_end(content, place)
        is_first, serial = content[place + 5] & FIRST_PAGE, content[place + 14 : place + 18]
        number = int.from_bytes(content[place + 18 : place + 22], "little")
        if is_first and not in_heads:
            yield Part("Ogg", start, place)
            start, numbers = place, {}
        # A stream that was recorded on its way may begin with any number.
        if not is_first and numbers.get(serial, 0) and number != numbers[serial] + 1:
            raise damaged("Ogg", f"page {numbers[serial] + 1} is missing; page {number} follows")
        numbers[serial] = number
        in_heads = bool(is_first)
        place = end
    yield Part("Ogg", start, place)


def _page_end(content: Content, place: int) -> int:
    """Where a page ends."""
    table = content[place + 27 : place + 27 + content[place + 26]] if place + 27 <= len(content) else b""
    if place + 27 > len(content) or len(table) < content[place + 26]:
        raise truncated("Ogg", "a page of 27 bytes or more", f"{len(content) - place}")
    end = place + 27 + len(table) + sum(table)
    if end > len(content):
        raise truncated("Ogg", f"{end - place:,} bytes of a page", f"{len(content) - place:,}")
    return end
