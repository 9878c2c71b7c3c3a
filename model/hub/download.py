"""A checkpoint by its folder, or by its id on the hub."""

import re
from os import PathLike
from pathlib import Path

from anytalk.model.checkpoint import CONFIG_FILE, TOKENIZER_FILES, WEIGHTS

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
"""OWNER/NAME, or OWNER/NAME@REVISION."""

WANTED = (CONFIG_FILE, WEIGHTS, *TOKENIZER_FILES)
"""No other file is downloaded: neither pickled weights nor code."""


def is_hub_id(name: str | PathLike[str]) -> bool:
    """Whether a name can only be meant as an id of the hub: it looks like one, and there is no such path.

    >>> is_hub_id("owner/name"), is_hub_id("owner/name@v1"), is_hub_id("RUN"), is_hub_id("/RUN/best")
    (True, True, False, False)
    """
    return bool(HUB_ID.fullmatch(str(name))) and not Path(name).exists()


def checkpoint_folder(name: str | PathLike[str], revision: str | None = None) -> Path:
    """Give the folder of a checkpoint; a repository of the hub is downloaded into the hub's cache first.

    Args:
        name: a folder; or OWNER/NAME, or OWNER/NAME@REVISION, where there is no such folder.
        revision: branch, tag or commit of the repository; its main branch when None.

    Raises:
        ValueError: it is no folder, and the hub does not give it; or a folder has no revision.
    """
    if not is_hub_id(name):
        if revision is not None:
            raise ValueError(f"{name} is a folder, and has no revision {revision!r}")
        return Path(name)
    found = HUB_ID.fullmatch(str(name))
    assert found is not None
    import httpx2
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(found[1], revision=revision or found[2], allow_patterns=list(WANTED)))
    except (OSError, ValueError, httpx2.HTTPError) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{name} is no folder, and the hub did not give it either ({said}); go online, set HF_ENDPOINT to a "
            "mirror, or name a checkpoint's folder"
        ) from error
