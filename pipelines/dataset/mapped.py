"""A local file as memory, without what was looked at staying with this process.

What is read of a mapped file counts as memory of whoever reads it until the system wants it back, which a machine with
room never does, and a limit on memory or a person who looks sees as much as the file is long.
"""

import mmap
from pathlib import Path

import pyarrow as pa

RELEASED_BYTES = 2**26
"""What is looked at, at most and about, before it is let go."""


class Mapped:
    """A local file, mapped.

    Args:
        path: of the file, which is not empty; it may be deleted while it is mapped.

    Attributes:
        buffer: its bytes.
    """

    def __init__(self, path: str | Path) -> None:
        with Path(path).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.buffer = pa.py_buffer(self._map)
        self._looked_at = 0

    def looked_at(self, size: int) -> None:
        """Take note that so many bytes were read; what was is let go now and then."""
        self._looked_at += size
        if self._looked_at >= RELEASED_BYTES:
            self.release()

    def release(self) -> None:
        """Let go of what was read: it is read again where it is looked at again, mostly from the system's cache."""
        self._looked_at = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
