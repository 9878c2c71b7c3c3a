"""The files of a folder, on this machine or in a bucket, by their paths within it."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Protocol

from anytalk.pipelines.dataset import Store, local_file
from anytalk.pipelines.source.attachment import of_file, of_url
from anytalk.pipelines.source.encoding import read_text
from anytalk.pipelines.source.pair import Recording
from anytalk.synth.errors import SetupError
from anytalk.synth.remote import is_url

AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "avi", "caf", "flac", "m4a", "m4b", "mka"),
        *("mkv", "mov", "mp2", "mp3", "mp4", "mpeg", "mpg", "oga", "ogg", "opus", "ra", "spx", "tta", "w64", "wav"),
        *("wave", "weba", "webm", "wma", "wv"),
    )
)
"""What counts as a recording in a folder; a manifest may name any file that ffmpeg reads."""

READERS = 16
"""Recordings that are read from a bucket at once."""

HEAD_BYTES = 64
"""By which a recording is known whatever its name."""


class Folder(Protocol):
    """Files by their paths within a folder."""

    path: str
    name: str
    is_near: bool
    """Whether it lies on this machine."""

    def files(self) -> list[PurePath]:
        """Every file that is not hidden, in order."""

    def place(self, file: PurePath) -> str:
        """A file's path in characters that can be written anywhere."""

    def head(self, file: PurePath) -> bytes:
        """The first bytes of a file; none of what is no regular file, or cannot be read."""

    def missing(self, file: PurePath) -> str | None:
        """What is there instead of a file; None where there is one."""

    def text(self, file: PurePath) -> str:
        """A short text, in whatever encoding it has.

        Raises:
            SetupError: its encoding cannot be told.
        """

    def recording(self, file: PurePath) -> Recording:
        """Name a file as a recording.

        Raises:
            OSError: it cannot be read.
        """


def folder_of(path: str) -> Folder:
    """The folder of a path or URL.

    Raises:
        SetupError: it is a URL of a server that does not list its files.
    """
    if not is_url(path):
        return LocalFolder(path)
    if path.startswith(("http://", "https://")):
        raise SetupError(
            f"source.path: {path} is no table, and a web server does not list the files of a folder; name a table of "
            "recordings there (jsonl, csv, parquet), or a folder in a bucket"
        )
    return BucketFolder(path)


def at_once(folder: Folder) -> int:
    """Recordings of a folder that are read at once: several of a bucket's, as each takes a while to come."""
    return 1 if folder.is_near else READERS


class LocalFolder:
    """A folder of this machine; see `Folder`."""

    is_near = True

    def __init__(self, path: str) -> None:
        self.path, self.name = path, Path(path).name
        self._root = Path(path)

    def files(self) -> list[PurePath]:
        """See `Folder.files`; links to folders are followed."""
        return sorted(path.relative_to(self._root) for path in self._walked())

    def _walked(self) -> Iterator[Path]:
        def unreadable(error: OSError) -> None:
            raise SetupError(f"source.path: {error.filename} cannot be read: {error.strerror}")

        seen = set()
        for here, folders, names in os.walk(self._root, onerror=unreadable, followlinks=True):
            real = Path(here).resolve()
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(here, name) for name in names if not name.startswith("."))

    def place(self, file: PurePath) -> str:
        """See `Folder.place`."""
        return _written(file)

    def head(self, file: PurePath) -> bytes:
        """See `Folder.head`."""
        path = self._root / file
        try:
            if not path.is_file():
                return b""
            with path.open("rb") as opened:
                return opened.read(HEAD_BYTES)
        except OSError:
            return b""

    def missing(self, file: PurePath) -> str | None:
        """See `Folder.missing`."""
        path = self._root / file
        if path.is_file():
            return None
        if path.is_symlink():
            return f"a link to {str(path.readlink())!r}, which does not exist"
        return "no regular file"

    def text(self, file: PurePath) -> str:
        """See `Folder.text`."""
        return read_text(self._root / file)

    def recording(self, file: PurePath) -> Recording:
        """See `Folder.recording`."""
        return of_file(self._root / file)


class BucketFolder:
    """A folder of an object store; see `Folder`."""

    is_near = False

    def __init__(self, url: str) -> None:
        self.path = url.rstrip("/")
        self.name = PurePosixPath(self.path).name
        self._store = Store(self.path)

    def files(self) -> list[PurePath]:
        """See `Folder.files`."""
        paths = (PurePosixPath(name) for name in self._store.files())
        return sorted(path for path in paths if not any(part.startswith(".") for part in path.parts))

    def place(self, file: PurePath) -> str:
        """See `Folder.place`."""
        return str(file)

    def head(self, file: PurePath) -> bytes:
        """See `Folder.head`."""
        return self._store.read(str(file), HEAD_BYTES)

    def missing(self, file: PurePath) -> str | None:
        """See `Folder.missing`."""
        return None

    def text(self, file: PurePath) -> str:
        """See `Folder.text`."""
        with local_file(f"{self.path}/{file}") as copy:
            return read_text(copy)

    def recording(self, file: PurePath) -> Recording:
        """See `Folder.recording`."""
        return of_url(f"{self.path}/{file}")


def _written(path: PurePath) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
