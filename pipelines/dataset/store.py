"""Where a dataset lives: a folder or an object-store URL, written so that nothing half-written is ever read.

A file is either named by its content (and may be written twice, with the same bytes) or created exclusively, whole: the
first writer wins, everybody else is told so. Local files are written beside, synchronised to the disk and renamed.
"""

import contextlib
import functools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem

from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.remote import BUCKETS, filesystem_of

PART = ".part"
"""End of the name of a local file that is being written. Nothing reads it; what a killed writer left is collected."""

FINAL = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Errors that say what is there; another try would say the same."""

READERS = 32
"""Files of an object store that are read, or deleted, at once."""

LISTED_FILES = 1024
"""Files of an object store that are asked for together."""

BEATEN = ("PreconditionFailed", "ConditionalRequestConflict")
"""What S3 and its like call it when somebody else creates a file at the same time: 412 and 409."""

AHEAD_BYTES = 2**18
"""Of a file of an object store that is read in parts, behind what is asked for."""

COPIED_BYTES = 2**20
"""Of a large file, at once."""

ResultT = TypeVar("ResultT")


class StorageError(EngineError):
    """A file could not be read or written after several tries: a full disk, or an object store that does not answer."""


class Store:
    """Files under one root.

    Args:
        root: a local path or any URL that fsspec knows, such as `s3://bucket/folder`.
        attempts: times that a read or write is tried.
        backoff_s: wait before the second try, doubled before each further one.

    Every method raises `StorageError` where the storage fails each time.
    """

    def __init__(self, root: str | Path, attempts: int = 5, backoff_s: float = 0.5) -> None:
        self.filesystem, self.root = filesystem_of(str(root))
        self.local = isinstance(self.filesystem, LocalFileSystem)
        protocols = self.filesystem.protocol
        self._is_bucket = not BUCKETS.isdisjoint([protocols] if isinstance(protocols, str) else protocols)
        self.attempts, self.backoff_s = attempts, backoff_s

    def __str__(self) -> str:
        return str(self.root if self.local else self.filesystem.unstrip_protocol(self.root))

    def full(self, path: str) -> str:
        """Name of a file as the file system knows it."""
        return f"{self.root}/{path}"

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return bool(self._tried(f"look for {path}", lambda: self.filesystem.exists(self.full(path))))

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Bytes of a file, or so many of its first.

        Raises:
            FileNotFoundError: there is none.
        """
        return bytes(self._tried(f"read {path}", lambda: self.filesystem.cat_file(self.full(path), end=limit)))

    def facts(self, path: str) -> dict[str, Any]:
        """What the file system tells of a file without reading it.

        Raises:
            FileNotFoundError: there is none.
        """
        return dict(self._tried(f"look for {path}", lambda: self.filesystem.info(self.full(path))))

    def read_each(self, paths: Sequence[str]) -> list[bytes]:
        """Bytes of several files; from an object store several at once, since each takes a while to come.

        Raises:
            FileNotFoundError: one is not there.
        """
        if self.local:
            # Hundreds of thousands of small files: what fsspec does besides takes longer than reading one.
            return [self._tried(f"read {path}", Path(self.full(path)).read_bytes) for path in paths]
        if len(paths) < 2:
            return [self.read(path) for path in paths]
        if not isinstance(self.filesystem, AsyncFileSystem):
            with ThreadPoolExecutor(READERS) as pool:
                return list(pool.map(self.read, paths))
        read: list[bytes] = []
        for start in range(0, len(paths), LISTED_FILES):
            some = paths[start : start + LISTED_FILES]
            found = self._tried(f"read {some[0]}, ...", functools.partial(self._read_together, some))
            # What failed is tried again by itself, as others that were read with it did not.
            read += [found[path] if path in found else self.read(path) for path in some]
        return read

    def look(self, path: str, action: Callable[[Any], ResultT]) -> ResultT:
        """Open a file as Arrow reads it, and give what an action finds in it; tried again where a request fails.

        Raises:
            FileNotFoundError: there is none.
        """

        def looked() -> ResultT:
            with self.open(path) as file:
                return action(file)

        return looked() if self.local else self._tried(f"read {path}", looked)

    def open(self, path: str) -> Any:
        """Open a file as Arrow reads it, for a look at parts of it; to be closed by whoever asked.

        Raises:
            OSError: there is none, or it cannot be read.
        """
        if self.local:
            return pa.memory_map(self.full(path))
        # What is not wanted lies between what is, so that little is read ahead.
        return pa.PythonFile(self.filesystem.open(self.full(path), "rb", block_size=AHEAD_BYTES))

    def write(self, path: str, content: bytes) -> None:
        """Write or overwrite a file that nothing refers to yet."""
        self._tried(f"write {path}", lambda: self._write(path, content))

    def put(self, path: str, file: Path) -> None:
        """Write or overwrite a file that nothing refers to yet with the bytes of a local one, however many they are."""
        if self.local:
            self._tried(f"write {path}", lambda: self._write(path, file))
            return

        def send() -> None:
            self._make_parent(path)
            with self._bucket():
                self.filesystem.put_file(str(file), self.full(path))

        self._tried(f"write {path}", send)

    def get(self, path: str, file: Path) -> None:
        """Copy a file to a local one, however large it is.

        Raises:
            FileNotFoundError: there is none.
        """
        self._tried(f"read {path}", lambda: self.filesystem.get_file(self.full(path), str(file)))

    def create(self, path: str, content: bytes) -> bool:
        """Create a file whole, if there is none of this name.

        Returns:
            False if it was there already: somebody else was first.
        """
        return self._tried(f"create {path}", lambda: self._create(path, content))

    def delete(self, path: str) -> None:
        """Delete a file; one that somebody else has deleted is no error."""

        def remove() -> None:
            try:
                self.filesystem.rm_file(self.full(path))
            except FileNotFoundError:
                return

        self._tried(f"delete {path}", remove)

    def delete_each(self, paths: Sequence[str]) -> None:
        """Delete several files; see `delete`."""
        if self.local or len(paths) < 2:
            for path in paths:
                self.delete(path)
            return
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self.delete, paths))

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Every file below a folder, relative to the root, with its bytes; sorted, from one listing."""
        if not self.local:
            return {path: int(facts["size"]) for path, facts in self.listed(folder).items()}

        def found_now() -> dict[str, int]:
            start = f"{self.root}/{folder}".rstrip("/")
            if not Path(start).is_dir():
                return {}
            try:
                return dict(sorted(_sizes_below(start, start.removeprefix(str(self.root)).lstrip("/"))))
            except FileNotFoundError:
                raise InterruptedError("a file went away while it was listed") from None

        return self._tried(f"list {folder or 'the files'}", found_now)

    def listed(self, folder: str = "") -> dict[str, dict[str, Any]]:
        """Every file below a folder, relative to the root, with what is told of it; sorted, from one listing."""
        start = f"{self.root}/{folder}".rstrip("/")

        def found_now() -> dict[str, dict[str, Any]]:
            self.filesystem.invalidate_cache()  # Others write there too.
            try:
                found = self.filesystem.find(start, detail=True)
            except FileNotFoundError:
                if not self.filesystem.exists(start):
                    return {}
                raise InterruptedError("a file went away while it was listed") from None
            return {path.removeprefix(f"{self.root}/"): dict(found[path]) for path in sorted(found)}

        return self._tried(f"list {folder or 'the files'}", found_now)

    def files(self, folder: str = "") -> list[str]:
        """Every file below a folder, relative to the root, sorted."""
        return list(self.sizes(folder))

    def _read_together(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Bytes of those of some files that could be read, by path."""
        names = {self.full(path): path for path in paths}
        found = self.filesystem.cat(list(names), on_error="return", batch_size=READERS)
        return {names[name]: content for name, content in found.items() if name in names and type(content) is bytes}

    def _write(self, path: str, content: bytes | Path) -> None:
        self._make_parent(path)
        if not self.local:
            with self._bucket():
                self.filesystem.pipe_file(self.full(path), content)
            return
        part = self._part(path, content)
        try:
            part.replace(self.full(path))
        except FileNotFoundError:
            raise InterruptedError("somebody who closed the dataset took it for what a killed writer left") from None
        finally:
            part.unlink(missing_ok=True)
        self._synchronise_folder(path)

    def _create(self, path: str, content: bytes) -> bool:
        self._make_parent(path)
        if not self.local:
            try:
                with self._bucket():
                    self.filesystem.pipe_file(self.full(path), content, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if _is_beaten(error) and self.filesystem.exists(self.full(path)):
                    return False
                raise
            return True
        # A link appears at once with all its bytes and never replaces anything; O_EXCL and rename do half of it each.
        part = self._part(path, content)
        try:
            os.link(part, self.full(path))
        except FileExistsError:
            return False
        except FileNotFoundError:
            raise InterruptedError("somebody who closed the dataset took it for what a killed writer left") from None
        finally:
            part.unlink(missing_ok=True)
        self._synchronise_folder(path)
        return True

    def _part(self, path: str, content: bytes | Path) -> Path:
        """Write a local file under a name that nothing reads, down to the disk: some bytes, or those of a file."""
        part = Path(self.full(f"{path}.{secrets.token_hex(4)}{PART}"))
        try:
            with part.open("xb") as file:
                if isinstance(content, Path):
                    with content.open("rb") as original:
                        shutil.copyfileobj(original, file, COPIED_BYTES)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return part

    def _synchronise_folder(self, path: str) -> None:
        """Make the name of a file as lasting as its bytes."""
        folder = os.open(Path(self.full(path)).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _bucket(self) -> Iterator[None]:
        """Name a bucket that is not there, of which writers are told as of a file."""
        try:
            yield
        except FileNotFoundError as error:
            raise SetupError(f"{self} cannot be written: {error}; make the bucket first") from error

    def _make_parent(self, path: str) -> None:
        if self._is_bucket:
            return
        try:
            self.filesystem.makedirs(self.full(path).rpartition("/")[0], exist_ok=True)
        except FINAL as error:
            raise SetupError(f"{self} cannot be a folder: {error}; name another one") from error

    def _tried(self, what: str, action: Callable[[], ResultT]) -> ResultT:
        """Do what may fail for a while: a full disk, a throttled bucket, credentials that are being renewed."""
        for attempt in range(1, self.attempts + 1):
            try:
                return action()
            except (*FINAL, SetupError):
                raise
            except Exception as error:
                if attempt == self.attempts:
                    cause = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                    raise StorageError(f"{self} cannot {what}: {cause}; tried {attempt} times") from error
            time.sleep(self.backoff_s * 2 ** (attempt - 1))
        raise AssertionError("attempts is 1 or more")


def _sizes_below(folder: str, name: str) -> Iterator[tuple[str, int]]:
    """Every file below a local folder with its bytes; what fsspec tells of each takes ten times the memory."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes_below(entry.path, f"{name}/{entry.name}".lstrip("/"))
            else:
                yield f"{name}/{entry.name}".lstrip("/"), entry.stat().st_size


def _is_beaten(error: BaseException | None) -> bool:
    """Whether an object store refused to create a file because somebody else did, or was just doing it."""
    while error is not None:
        response = getattr(error, "response", None)
        told = response.get("Error", {}).get("Code") if isinstance(response, dict) else getattr(error, "code", None)
        if told in BEATEN or told in (409, 412):
            return True
        error = error.__cause__ or error.__context__
    return False
