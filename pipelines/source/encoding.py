"""Lines of a text file in whatever encoding it has; what could only be guessed is refused."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anytalk.synth.errors import SetupError

LONGEST_LINE = 64 * 2**20
"""In bytes; a longer line is passed over and reported."""
BLOCK_BYTES = 2**20

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SURE_CP1252 = frozenset(b"\x80\x85\x91\x92\x93\x94\x95\x96\x97\x99\xa0\xa7\xa9\xab\xb0\xbb") | frozenset(
    "ÁÂÄÇÉËÍÎÓÔÖÚÜßáâäçéëíîóôöúü".encode("cp1252")
)
"""Bytes that mean the same in the Western and the Central European code page of Windows: marks, and letters."""

Line = tuple[int, str | None]
"""Number of a line, from 1, and its text without the line end; None for one that cannot be decoded, or is too long."""


def lines_of(path: Path) -> Iterator[Line]:
    """Read a text file line by line.

    UTF-8, UTF-16 and UTF-32 are told by their mark or their zeros. A file that is none of them is taken as Windows-1252
    only where it could hardly be anything else.

    Raises:
        SetupError: its encoding cannot be told; or it cannot be read.
    """
    try:
        encoding = encoding_of(path)
        if encoding == "utf-8":
            yield from _utf8_lines(path)
            return
        with path.open(encoding=encoding, errors="replace") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), start=1):
                text = line.removesuffix("\n")
                yield number, None if "\ufffd" in text else text
    except (OSError, UnicodeError) as error:
        raise SetupError(f"source.path: {path} cannot be read: {' '.join(str(error).split())}") from error


def read_text(path: Path) -> str:
    """Read a short text file whole.

    Raises:
        SetupError: its encoding cannot be told, or a part of it is not in that encoding.
    """
    lines = list(lines_of(path))
    for number, line in lines:
        if line is None:
            raise SetupError(f"{path.name}:{number} is not UTF-8")
    return "\n".join(line or "" for _, line in lines)


def encoding_of(path: Path) -> str:
    """Name a file's encoding: `utf-8`, also where single lines are damaged, `utf-16`, `utf-32` or `cp1252`.

    Raises:
        SetupError: it is none of them.
    """
    with path.open("rb") as file:
        head = file.read(4096)
        for mark, encoding in MARKS:
            if head.startswith(mark):
                return "utf-8" if encoding == "utf-8-sig" else encoding
        even, odd = head[::2].count(0), head[1::2].count(0)
        if len(head) > 3 and max(even, odd) > len(head) // 8:
            return "utf-16-be" if even > odd else "utf-16-le"
        file.seek(0)
        return "utf-8" if _is_utf8(file) else _one_byte_encoding(path)


def _is_utf8(file: Any) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := file.read(BLOCK_BYTES):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _one_byte_encoding(path: Path) -> str:
    """Windows-1252, or UTF-8 with damaged lines."""
    unsure = first = 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
            if line.isascii():
                continue
            try:
                line.decode()
                return "utf-8"  # Some lines are, so that those which are not are damaged.
            except UnicodeDecodeError:
                first = first or number
            if not SURE_CP1252.issuperset(byte for byte in line if byte > 127) or re.search(rb"[\x80-\xff]{3}", line):
                unsure = unsure or number
    if unsure:
        raise SetupError(
            f"source.path: {path} is not UTF-8 (line {unsure}), and which encoding it has cannot be told; convert it, "
            f"for example: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > {path.stem}.utf8{path.suffix}"
        )
    return "cp1252"


def _utf8_lines(path: Path) -> Iterator[Line]:
    with path.open("rb") as file:
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        start = file.tell()
        head = file.read(2**16)
        file.seek(start)
        if b"\r" in head and b"\n" not in head:  # As old Macs wrote.
            lines = file.read().split(b"\r")
            yield from ((number, _decoded(line)) for number, line in enumerate(lines, start=1))
            return
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(LONGEST_LINE)
                yield number, None
            else:
                yield number, _decoded(line.rstrip(b"\r\n"))


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None
