"""Datasets of the Hugging Face hub, or local copies of them, row by row.

Rows are streamed: of a large dataset only what is read is fetched, and nothing is cached. Audio is never decoded by
`datasets`, which would need torchcodec; it stays the bytes of a file. No code of a dataset is ever run.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from anytalk.pipelines.recipe import TABLE_SUFFIXES, Hub, VoiceAssistant
from anytalk.synth.errors import EngineError, SetupError

from .attachment import Attachments
from .pair import BadPair, Pair
from .rows import Row, table_rows
from .table import table_pairs

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
BROKEN = (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError)
"""What `datasets` raises for files that it does not understand."""


def hub_pairs(source: Hub, attachments: Attachments) -> Iterator[Pair | BadPair]:
    """Read a dataset by its column mapping.

    Raises:
        SetupError: there is no such dataset, configuration, split or column.
        EngineError: the stream broke off.
    """
    copy = local_copy(source.dataset)
    folder = copy if copy and copy.is_dir() else (copy or Path()).parent
    return table_pairs(source, hub_rows(source), attachments, folder, source.dataset.rstrip("/").rpartition("/")[2])


def local_copy(dataset: str) -> Path | None:
    """The path of a local dataset; None for one of the hub.

    Raises:
        SetupError: it is neither.
    """
    path = Path(dataset)
    if path.exists():
        return path
    if not HUB_ID.fullmatch(dataset) or dataset.startswith("."):
        raise SetupError(f"source.dataset: {dataset} does not exist, and is no hub id (OWNER/NAME)")
    return None


def hub_rows(source: Hub | VoiceAssistant) -> Iterator[Row]:
    """Stream the rows of a dataset.

    Returns:
        Where each row stands, such as `gpt-omni/VoiceAssistant-400K@1a2b3c4/train:7`, and its values; audio as a
        mapping of `bytes` and `path`.

    Raises:
        SetupError: there is no such dataset, configuration or split, or it cannot be reached.
        EngineError: the stream broke off.
    """
    copy = local_copy(source.dataset)
    if copy is not None and copy.is_file() and copy.suffix.lower() in TABLE_SUFFIXES:
        yield from table_rows(copy, TABLE_SUFFIXES[copy.suffix.lower()])
        return

    import datasets  # takes seconds

    try:
        if copy is None:
            # One commit from the first row to the last, even if somebody pushes meanwhile.
            commit = _commit(source)
            name = "/".join(filter(None, (f"{source.dataset}@{commit[:7]}", source.config, source.split)))
            stream = datasets.load_dataset(
                source.dataset, source.config, split=source.split, revision=commit, streaming=True
            )
        else:
            name = "/".join(filter(None, (copy.name, source.config, source.split)))
            stream = _open_copy(datasets, copy, source)
    except (*BROKEN, datasets.exceptions.DatasetsError) as error:
        raise SetupError(f"source.dataset: {source.dataset} cannot be opened: {_first_line(error)}") from error
    audio = [key for key, kind in (stream.features or {}).items() if isinstance(kind, datasets.Audio)]
    try:
        # Of a stream without known features, nothing is decoded anyway.
        for number, row in enumerate(stream.decode(False) if stream.features else stream, start=1):
            yield f"{name}:{number}", row | {key: _fetched(row[key]) for key in audio}
    except (*BROKEN, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        if copy is not None:
            raise SetupError(f"source.dataset: {name} cannot be read on: {_first_line(error)}") from error
        raise EngineError(f"{name} broke off: {_first_line(error)}; the same command starts anew") from error


def _commit(source: Hub | VoiceAssistant) -> str:
    """The commit that a branch or tag of the hub stands for now."""
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(source.dataset, revision=source.revision).sha)


def _open_copy(datasets: Any, copy: Path, source: Hub | VoiceAssistant) -> Any:
    if copy.is_file():
        if copy.suffix != ".arrow":
            raise ValueError(f"a file must be one of .arrow, {', '.join(TABLE_SUFFIXES)}")
        files = {source.split: str(copy)}
        return datasets.load_dataset("arrow", data_files=files, split=source.split, streaming=True)
    if (copy / "state.json").is_file() or (copy / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(str(copy))
        return (saved[source.split] if isinstance(saved, datasets.DatasetDict) else saved).to_iterable_dataset()
    return datasets.load_dataset(str(copy), source.config, split=source.split, streaming=True)


def _fetched(value: Any) -> Any:
    """Audio that a stream names by a URL of its own, as bytes."""
    if isinstance(value, Mapping) and not value.get("bytes") and "://" in (value.get("path") or ""):
        with fsspec.open(value["path"], "rb") as file:
            return {"bytes": file.read(), "path": value["path"]}
    return value


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
