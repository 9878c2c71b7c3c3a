"""MP3 and AAC (ADTS): frames without a container, so that only counting them tells the length."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .container import Content, Part, damaged, is_padding, trailing, truncated

MP3_SLACK = 4 * 1152
"""Delay and padding of encoders, which decoders take off or not."""


class Frame(NamedTuple):
    """What a frame's header says."""

    size: int
    samples: int
    kind: tuple[int, ...]
    """Rate in Hz, version, whether it is mono: what cannot change within a stream."""


Reader = Callable[[bytes], Frame | None]

_MPEG1_KBIT_S = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG2_KBIT_S = {
    1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = (44_100, 48_000, 32_000)
_AAC_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)


def mp3_frame(header: bytes) -> Frame | None:
    """Read the header of a frame of MPEG audio, layers I to III; None for what is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    step, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or step in (0, 15) or rate == 3:
        return None
    rate_hz = _RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bit_s = 1000 * (_MPEG1_KBIT_S if version == 3 else _MPEG2_KBIT_S)[layer][step - 1]
    padding, kind = header[2] >> 1 & 1, (rate_hz, version, layer, int(header[3] >> 6 == 3))
    if layer == 1:
        return Frame((12 * bit_s // rate_hz + padding) * 4, 384, kind)
    samples = 576 if layer == 3 and version != 3 else 1152
    return Frame(samples // 8 * bit_s // rate_hz + padding, samples, kind)


def adts_frame(header: bytes) -> Frame | None:
    """Read the header of a frame of AAC; None for what is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    rate = header[2] >> 2 & 15
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if rate >= len(_AAC_RATES_HZ) or size < 7:
        return None
    return Frame(size, 1024 * (1 + (header[6] & 3)), (_AAC_RATES_HZ[rate],))


def id3_end(content: Content, start: int) -> int:
    """Where a tag at the start of a stream ends; `start` where there is none."""
    while content[start : start + 3] == b"ID3" and start + 10 <= len(content):
        size = 0
        for byte in content[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if content[start + 5] & 0x10 else 0)
    return start


def first_frame(content: Content, start: int, read: Reader) -> int | None:
    """Where two frames follow each other for the first time; zeros before them are passed over."""
    while start < len(content) and content[start] == 0:
        start += 1
    frame = read(content[start : start + 7])
    if frame is None:
        return None
    after = start + frame.size
    return start if after >= len(content) or read(content[after : after + 7]) or _may_follow(content, after) else None


def _may_follow(content: Content, place: int) -> bool:
    head = content[place : place + 8]
    return head[:3] in (b"ID3", b"TAG") or head == b"APETAGEX" or is_padding(content[place : place + 4096])


def frame_parts(content: Content, start: int, name: str, read: Reader) -> Iterator[Part]:
    """Count the frames; a new stream begins where a header of its own stands or the rate changes.

    Raises:
        SampleError: `truncated_audio`, `trailing_data`, or `damaged_audio` for what is no frame between frames.
    """
    begin, place, samples, found = start, start, 0, 0
    promised: int | None = None
    kind: tuple[int, ...] | None = None
    while place < len(content):
        frame = read(content[place : place + 7])
        if frame is None:
            after = id3_end(content, place)
            if after > place and after < len(content):
                place = after
                continue
            if after > place or is_padding(content[place:]):
                break
            raise _no_frame(content, place, name, read)
        if place + frame.size > len(content):
            raise truncated(name, f"{frame.size:,} bytes of a frame", f"{len(content) - place:,}")
        told = _told_frames(content[place : place + frame.size]) if name == "MP3" else None
        if found and (told is not None or frame.kind != kind):
            yield _part(name, begin, place, samples, found, promised)
            begin, samples, found, promised = place, 0, 0, None
        kind, promised = frame.kind, told if told is not None else promised
        if told is None:
            samples, found = samples + frame.samples, found + 1
        place += frame.size
    if found or promised is not None:
        yield _part(name, begin, place, samples, found, promised)


def _told_frames(frame: bytes) -> int | None:
    """How many frames a header of Xing, LAME or Fraunhofer tells; 0 where it tells none, None for no such header."""
    for mark in (b"Xing", b"Info"):
        at = frame.find(mark, 4, 48)
        if at > 0:
            tells = len(frame) >= at + 12 and frame[at + 7] & 1
            return int.from_bytes(frame[at + 8 : at + 12], "big") if tells else 0
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None


def _part(name: str, begin: int, end: int, samples: int, found: int, promised: int | None) -> Part:
    # Some writers count their header among the frames.
    if promised and found + 1 < promised:
        raise truncated(name, f"{promised:,} frames", f"{found:,}")
    if promised and promised < found - 1:
        # What a decoder believes the header of is only the first of the streams.
        return Part(name, begin, end, samples=samples, slack=MP3_SLACK, decoder="ffmpeg")
    return Part(name, begin, end, samples=samples, slack=MP3_SLACK, decoder="ffmpeg" if name == "AAC" else "any")


def _no_frame(content: Content, place: int, name: str, read: Reader) -> Exception:
    """What is wrong where a frame should begin."""
    for later in range(place, min(len(content), place + 2**16)):
        frame = read(content[later : later + 7])
        following = frame and read(content[later + frame.size : later + frame.size + 7])
        if frame and following and following.kind == frame.kind:
            return damaged(name, f"{later - place:,} bytes at byte {place:,} are no frame")
    return trailing(name, len(content) - place)
