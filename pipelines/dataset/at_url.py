"""Single files at URLs: read whole, or copied to this machine, with as many tries as a dataset's files have."""

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256_of_parts
from anytalk.synth.remote import is_url, name_of, version_of

from .store import Store


def folder_at(url: str) -> str:
    """URL of the folder that a file lies in."""
    # Only what a web server is asked for has a query.
    return (url.partition("?")[0] if url.startswith(("http://", "https://")) else url).rpartition("/")[0]


def read_url(url: str) -> bytes:
    """Bytes of a file at a URL.

    Raises:
        FileNotFoundError: there is none.
        StorageError: it cannot be read.
    """
    store, name = store_at(url)
    return store.read(name)


def state_of(url: str) -> tuple[str, int, str]:
    """URL, size and version of a file at a URL, as far as its server tells them: they change when the file does.

    Of a folder in a bucket: URL, number of files, and a digest of all their names, sizes and versions.

    Raises:
        SetupError: there is neither.
    """
    store, name = store_at(url)
    try:
        facts = store.facts(name)
    except FileNotFoundError:
        raise SetupError(f"{url} does not exist") from None
    if facts.get("type") != "directory":
        return url, int(facts.get("size") or 0), version_of(facts)
    files = store.listed(name).items()
    lines = (f"{path}\0{facts.get('size')}\0{version_of(facts)}\n".encode() for path, facts in files)
    return url, len(files), sha256_of_parts(lines)


@contextlib.contextmanager
def local_file(name: str) -> Iterator[Path]:
    """A file by its path or URL, as a local one; what lies at a URL is copied for as long as the context lasts.

    Raises:
        SetupError: there is none at the URL. In those that are raised meanwhile the URL stands for the copy.
    """
    if not is_url(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="anytalk-") as folder:
        store, place = store_at(name)
        copy = Path(folder) / name_of(name)
        try:
            store.get(place, copy)
        except FileNotFoundError:
            raise SetupError(f"{name} does not exist") from None
        try:
            yield copy
        except SetupError as error:
            raise SetupError(str(error).replace(str(copy), name)) from error


def store_at(url: str) -> tuple[Store, str]:
    """The store of a file's folder, and the file's name there, with its query."""
    folder = folder_at(url)
    return _store(folder), url[len(folder) + 1 :]


@functools.lru_cache(maxsize=64)
def _store(folder: str) -> Store:
    return Store(folder)
