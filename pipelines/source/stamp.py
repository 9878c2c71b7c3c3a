"""What the pairs of a source follow from, by which one knows whether it has changed: files, folders, URLs."""

import os
import re
from pathlib import Path

from anytalk.pipelines.dataset import state_of
from anytalk.pipelines.recipe import (
    TABLE_SUFFIXES,
    Bundled,
    Chats,
    GrammarSource,
    Hub,
    Llm,
    OneSource,
    Rewrite,
    Source,
    VoiceAssistant,
    sources_of,
)
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256_of_parts
from anytalk.synth.remote import is_url

from .grammar import grammar_path
from .hub import local_copy

Stamp = tuple[str, int, int | str]
"""A file's path, size and time; a folder's path, its number of files, and a digest of the stamps of all; a URL, its
size and its version."""


def stamp(source: Source, rewrite: Rewrite | None = None) -> list[Stamp]:
    """Stamp every file, folder and URL that pairs follow from; equal stamps need no second reading.

    Of language models these are one's own templates.

    A dataset of the hub has none: the commit that was read stands in the plan's rows, and the plan stays with it.

    Raises:
        SetupError: one of them does not exist.
    """
    places = [place for one in sources_of(source) if (place := located(one)) is not None]
    if rewrite is not None and rewrite.templates is not None:
        places.append(_existing("rewrite.templates", rewrite.templates))
    return [state_of(place) if isinstance(place, str) else stamp_of_path(place) for place in places]


def located(source: OneSource) -> Path | str | None:
    """Path or URL of a source; None for what has none.

    Raises:
        SetupError: there is nothing at the path.
    """
    if isinstance(source, Bundled):
        return None
    if isinstance(source, Hub | VoiceAssistant):
        return local_copy(source.dataset)
    if isinstance(source, Llm):
        return None if source.ask.templates is None else _existing("source.ask.templates", source.ask.templates)
    if isinstance(source, Chats) and source.dataset is not None:
        return local_copy(source.dataset)
    assert source.path is not None
    if is_url(source.path):
        return source.path
    name = str(grammar_path(source)) if isinstance(source, GrammarSource) else source.path
    return _existing("source.path", name)


def _existing(key: str, name: str) -> Path:
    path = Path(name)
    if not path.exists():
        is_id = key == "source.path" and path.suffix.lower() not in TABLE_SUFFIXES and re.fullmatch(ID, name, re.ASCII)
        hub = f"; a dataset of the hub is --set 'source={{kind: hub, dataset: {name}}}'" if is_id else ""
        raise SetupError(f"{key}: {path} does not exist{hub}")
    return path


ID = r"[\w-][\w.-]*/[\w.-]+"
"""What may be the name of a dataset of the hub."""


def stamp_of_path(path: Path) -> Stamp:
    """Stamp a file, or all files of a folder at once."""
    name = os.fsencode(path).decode("utf-8", "backslashreplace")  # Names that are no UTF-8 must be written too.
    if not path.is_dir():
        return name, path.stat().st_size, path.stat().st_mtime_ns
    # Sorted as bytes, which every system sorts alike.
    states = sorted((os.fsencode(file.relative_to(path)), file.stat()) for file in path.rglob("*") if file.is_file())
    parts = (b"%s\0%d\0%d\n" % (file, state.st_size, state.st_mtime_ns) for file, state in states)
    return name, len(states), sha256_of_parts(parts)
