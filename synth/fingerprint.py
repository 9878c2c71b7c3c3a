"""SHA-256 of contents and files, and fingerprints: what an engine's bytes follow from."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

Fingerprint = Mapping[str, str]
"""Everything that can change a byte of what an engine gives, by name: engine and version, SHA-256 of its files,
arithmetic, threads. Installed elsewhere, the same files give the same fingerprint: it holds no paths."""

_NAMES_ONLY = frozenset({"model", "language", "engine", "text_compute_type", "cpu_threads", "device", "dtype"})
"""Of a feature model: what it was called, where it ran, and how its transcripts were made. Weights and arithmetic
decide the rest. Of a codec: where it ran, and the precision of its encoder, which a decoder has no part in."""

_UNSAID = {"context": "full"}
"""What a fingerprint means that does not say it."""


def sha256(content: bytes | memoryview) -> str:
    """Hash bytes: 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_parts(parts: Iterable[bytes]) -> str:
    """Hash bytes that come in parts, as if they were one."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def file_sha256(path: Path) -> str:
    """Hash a file, once for each size and time of change in which it is met."""
    state = path.stat()
    return _sha256_of_state(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256_of_state(path: Path, size_bytes: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """Hash all files of a folder and its folders, with their names."""
    # As posix text, not as paths: a folder sorts before or after its neighbour differently per system.
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return sha256_of_parts(f"{file_sha256(files[name])}  {name}\n".encode() for name in sorted(files))


def engine_fingerprint(distribution: str, **sources: Path) -> dict[str, str]:
    """Name an engine, its version and its files.

    Args:
        distribution: name of the installed distribution that is the engine.
        sources: files, or folders with everything in them, each under a name of its own.

    Returns:
        `engine`, such as `hibari-tts 0.2.1`, and for each source its hash, such as `weights_sha256`.
    """
    hashes = {
        f"{name}_sha256": file_sha256(path) if path.is_file() else folder_sha256(path) for name, path in sources.items()
    }
    return {"engine": f"{distribution} {version(distribution)}", **hashes}


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Name what differs between two fingerprints of one kind; an empty string if nothing that matters does.

    >>> difference({"model": "tiny.en", "width": 384}, {"model": "/a/tiny.en", "width": 384})
    ''
    >>> difference({"name": "snac", "revision": "1"}, {"name": "snac", "revision": "2"})
    "revision '2' instead of '1'"
    """
    ours, theirs = _UNSAID | dict(ours), _UNSAID | dict(theirs)
    keys = [key for key in sorted({*ours, *theirs}) if key not in _NAMES_ONLY and ours.get(key) != theirs.get(key)]
    return ", ".join(f"{key} {theirs.get(key)!r} instead of {ours.get(key)!r}" for key in keys)
