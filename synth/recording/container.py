"""Find the streams of an audio file, and what it promises of each, without decoding.

Decoders trust headers: they stop at the length that a header claims, read the first of several files that were joined,
and return what is left of a file that was cut off. So the structure is walked here first.
"""

import mmap
import re
from dataclasses import dataclass

from anytalk.synth.errors import SampleError

Content = bytes | mmap.mmap
"""The bytes of a file."""

SNIFFED_BYTES = 4096
LFS_POINTER = b"version https://git-lfs"
PAGE = re.compile(rb"\s*(<\?xml|<!doctype|<html|<head|<body)", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One stream of a file: content[start:end], with `head` in place of its first bytes where a claim was corrected.

    Attributes:
        kind: format, for messages: WAV, FLAC, Ogg, MP3, ...
        start: its first byte.
        end: the byte after its last.
        head: what is to be read instead of as many bytes at its start.
        samples: samples per channel that must come out; None where nothing says so.
        slack: how many more or fewer are right, as encoders add some at both ends.
        decoder: `libsndfile`, or `ffmpeg` where libsndfile is known to fail; `any` to try one after the other.
    """

    kind: str
    start: int
    end: int
    head: bytes = b""
    samples: int | None = None
    slack: int = 0
    decoder: str = "any"

    def content(self, content: Content) -> bytes:
        """Its bytes, with corrected head."""
        return self.head + content[self.start + len(self.head) : self.end]

    def is_all_of(self, content: Content) -> bool:
        """Whether it is the whole file as it stands."""
        return not self.head and self.start == 0 and self.end == len(content)


def truncated(kind: str, promised: str, found: str) -> SampleError:
    """Say that a file breaks off."""
    return SampleError("truncated_audio", f"{kind}: the file promises {promised}, and {found} are there")


def trailing(kind: str, count: int) -> SampleError:
    """Say that something unknown follows the end."""
    return SampleError("trailing_data", f"{kind}: {count:,} bytes of something else follow the end of the recording")


def damaged(kind: str, what: str) -> SampleError:
    """Say that something within is missing or broken."""
    return SampleError("damaged_audio", f"{kind}: {what}")


def refuse_no_audio(content: Content) -> None:
    """Name what often lies where a recording should.

    Raises:
        SampleError: `not_audio`, for an empty file, a Git LFS pointer, a web page, or a text.
    """
    head = content[:SNIFFED_BYTES]
    if not head:
        raise SampleError("not_audio", "an empty file (0 bytes)")
    if head.startswith(LFS_POINTER):
        raise SampleError("not_audio", "a Git LFS pointer instead of the recording; run: git lfs pull")
    if not any(head):
        if not any(content[:]):
            raise SampleError("not_audio", f"{len(content):,} bytes of zeros")
        return
    if PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        raise SampleError("not_audio", "an HTML or XML page instead of the recording; download it again")
    text = head.decode("ascii", errors="replace")
    if all(character.isprintable() or character.isspace() for character in text) and "\ufffd" not in text:
        raise SampleError("not_audio", f"a text instead of a recording, which begins {text[:40]!r}")


def is_padding(rest: bytes) -> bool:
    """Whether a tail is filled with one byte, or is a tag of names and titles."""
    rest = rest.lstrip(rest[:1]) if rest[:1] in (b"\x00", b"\xff") else rest
    if rest[:3] == b"TAG" and len(rest) >= 128:
        rest = rest[128:]
    if rest[:8] == b"APETAGEX" or rest[:11] == b"LYRICSBEGIN":
        return True
    return len(set(rest)) <= 1


def is_chunk_name(name: bytes) -> bool:
    """Whether four bytes could name a chunk or box."""
    return len(name) == 4 and all(32 <= byte < 127 or byte == 0xA9 for byte in name)
