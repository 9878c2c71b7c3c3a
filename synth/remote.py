"""What lies elsewhere: file systems of buckets and web servers, and folders of the Hugging Face hub."""

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from .errors import MissingExtra, SetupError
from .fingerprint import sha256

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "s3")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gcs")),
    **dict.fromkeys(("http", "https"), ("aiohttp", "http")),
}
"""What reads URLs of each protocol: the package, and the extra that installs it."""

BUCKETS = frozenset({"s3", "s3a", "gs", "gcs"})
"""Protocols of stores that have buckets and names, and no folders to be made."""


def is_url(name: str) -> bool:
    """Whether a name is a URL and no path of this machine."""
    return "://" in name


def name_of(place: str) -> PurePosixPath:
    """File name of a path or URL, without a query: `pairs.jsonl` of `https://host/sets/pairs.jsonl?version=2`.

    >>> str(name_of("https://host/my%20sets/pairs.v1.jsonl?version=2"))
    'pairs.v1.jsonl'
    """
    path = unquote(urlsplit(place).path) if is_url(place) else place
    return PurePosixPath(PurePosixPath(path).name)


def filesystem_of(root: str) -> tuple[Any, str]:
    """Find what reads a path or URL, and its name there.

    Args:
        root: a local path, or any URL that fsspec knows.

    Raises:
        MissingExtra: the package for its protocol is not installed.
        SetupError: there is no such protocol.
    """
    try:
        # Others write there too: what was listed before may be out of date.
        filesystem, path = fsspec.core.url_to_fs(root, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        package, extra = EXTRAS.get(root.partition("://")[0], (None, None))
        if isinstance(error, ImportError) and package is not None and extra is not None:
            raise MissingExtra(f"{package}, which {root} needs,", extra) from error
        raise SetupError(f"{root} cannot be opened: {error}") from error
    return filesystem, str(path)


def brought(name: str) -> str:
    """Name a model that lies at a URL by a local copy of it: a file, or a folder with everything in it.

    Copies stay in the user's cache folder, one of each version.

    Args:
        name: of a model, perhaps with its engine before: `s3://bucket/whisper`, `utmos:https://host/utmos.onnx`. One
            that holds no URL is given back.

    Raises:
        MissingExtra: the package for the protocol is not installed.
        SetupError: there is nothing at the URL, or it cannot be read.
    """
    found = NAMED_URL.fullmatch(name)
    if found is None:
        return name
    engine, url = found["engine"] or "", found["url"].rstrip("/")
    filesystem, path = filesystem_of(url)
    try:
        return engine + str(_copied(filesystem, path, url))
    except FileNotFoundError as error:
        raise SetupError(f"{url} does not exist, or went away: {error}") from error
    except Exception as error:
        raise SetupError(f"{url} cannot be read: {type(error).__name__}: {error}") from error


NAMED_URL = re.compile(r"(?P<engine>[a-z][\w-]*:)?(?P<url>[a-z][a-z0-9+]*://.+)")
"""A URL, with the engine that is to read it or without."""

VERSIONS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime")
"""What file systems call a file's version or time."""


def version_of(facts: Mapping[str, Any]) -> str:
    """What tells a file from a later one of its name: the tag of its content, or else its time; empty if unknown."""
    return str(next((facts[key] for key in VERSIONS if facts.get(key)), ""))


def _copied(filesystem: Any, path: str, url: str) -> Path:
    """Where the copy of a file or folder lies; made if this version of it is not there yet."""
    is_folder = filesystem.info(path)["type"] == "directory"
    files = filesystem.find(path, detail=True) if is_folder else {path: filesystem.info(path)}
    states = [f"{url}\n", *(f"{name}\0{facts.get('size')}\0{version_of(facts)}\n" for name, facts in files.items())]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(cache, "anytalk", "models", sha256("".join(states).encode())[:16])
    name = str(name_of(url))
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as part:
            for file in files:
                within = Path(part, "whole", name, *PurePosixPath(file.removeprefix(path)).parts[1:])
                within.parent.mkdir(parents=True, exist_ok=True)
                filesystem.get_file(file, str(within))
            # Somebody else may have brought it meanwhile.
            with contextlib.suppress(OSError):
                Path(part, "whole").rename(place)
    return place / name


def hub_folder(what: str, name: str, patterns: Sequence[str], needed: str) -> Path:
    """Find the folder of a model, or bring it from the hub.

    Args:
        what: it is, for messages.
        name: a folder; or a hub id, OWNER/NAME or OWNER/NAME@REVISION.
        patterns: of the files that are wanted.
        needed: files that the folder must hold, for messages.

    Raises:
        SetupError: it is no folder, and the hub does not give it.
    """
    from huggingface_hub import snapshot_download

    if Path(name).is_dir():
        return Path(name)
    repo, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(patterns)))
    except (OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SetupError(
            f"{what} {name!r} is no folder, and the hub did not give it either ({first}); go online, set HF_ENDPOINT "
            f"to a mirror, or name a folder with {needed}"
        ) from error
