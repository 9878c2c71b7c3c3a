"""What lies elsewhere: file systems of buckets and web servers, and folders of the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from .errors import MissingExtra, SetupError

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
