"""Where a dataset lives: a folder or an object-store URL, written so that nothing half-written is ever read.

A file is either named by its content (and may be written twice, with the same bytes) or created exclusively, whole: the
first writer wins, everybody else is told so.
"""

import hashlib
import os
import secrets
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Store:
    """Files under one root.

    Args:
        root: a local path or any URL that fsspec knows, such as `s3://bucket/folder`.
    """

    def __init__(self, root: str | Path) -> None:
        self.filesystem, self.root = fsspec.core.url_to_fs(str(root))
        self.local = isinstance(self.filesystem, LocalFileSystem)

    def __str__(self) -> str:
        return str(self.root if self.local else self.filesystem.unstrip_protocol(self.root))

    def full(self, path: str) -> str:
        """Name of a file as the file system knows it."""
        return f"{self.root}/{path}"

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return bool(self.filesystem.exists(self.full(path)))

    def read(self, path: str) -> bytes:
        """Bytes of a file."""
        return bytes(self.filesystem.cat_file(self.full(path)))

    def write(self, path: str, content: bytes) -> None:
        """Write or overwrite a file that nothing refers to yet."""
        self._make_parent(path)
        self.filesystem.pipe_file(self.full(path), content)

    def create(self, path: str, content: bytes) -> bool:
        """Create a file whole, if there is none of this name.

        Returns:
            False if it was there already: somebody else was first.
        """
        self._make_parent(path)
        if not self.local:
            try:
                self.filesystem.pipe_file(self.full(path), content, mode="create")
            except FileExistsError:
                return False
            return True
        # A link appears at once with all its bytes and never replaces anything; O_EXCL and rename do half of it each.
        part = Path(self.full(f"{path}.{secrets.token_hex(4)}.part"))
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(part, self.full(path))
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def delete(self, path: str) -> None:
        """Delete a file."""
        self.filesystem.rm_file(self.full(path))

    def files(self, folder: str = "") -> list[str]:
        """Every file below a folder, relative to the root, sorted."""
        start = f"{self.root}/{folder}".rstrip("/")
        if not self.filesystem.exists(start):
            return []
        prefix = f"{self.root}/"
        return sorted(str(path).removeprefix(prefix) for path in self.filesystem.find(start))

    def _make_parent(self, path: str) -> None:
        self.filesystem.makedirs(self.full(path).rpartition("/")[0], exist_ok=True)


def sha256(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
