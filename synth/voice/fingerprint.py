"""One line that changes whenever a voice's bytes may change."""

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

RENDERING = 1
"""Raised with any change in this folder that gives other bytes from the same engine and weights."""


def fingerprint(distribution: str, *sources: Path) -> str:
    """Name an engine, its version and its data.

    Args:
        distribution: name of the installed distribution that is the engine.
        sources: files, or folders with everything in them, that decide what the voice says.

    Returns:
        A line such as `hibari-tts 0.2.1 sha256:5f70… rendering 1`. Installed elsewhere, the same files give
        the same line.
    """
    digests = [f"sha256:{_content_sha256(source)}" for source in sources]
    return " ".join([distribution, version(distribution), *digests, f"rendering {RENDERING}"])


def _content_sha256(source: Path) -> str:
    if source.is_file():
        return _file_sha256(source)
    digest = hashlib.sha256()
    # As posix text, not as paths: a folder sorts before or after its neighbour differently per system.
    files = {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file()}
    for name in sorted(files):
        digest.update(f"{_file_sha256(files[name])}  {name}\n".encode())
    return digest.hexdigest()


def _file_sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_of_state(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256_of_state(path: Path, size_bytes: int, modified_ns: int) -> str:
    """Hash a file once for each state in which it is met."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
