"""Folders of the Hugging Face hub: on disk, in its cache, or downloaded."""

from collections.abc import Sequence
from pathlib import Path

from .errors import SetupError


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
