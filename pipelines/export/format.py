"""What an export reads and what a format is: rows of a built dataset, a part of them, and the files that they become.

A part is a run of whole work units of one split. Which rows are in which part follows from the dataset and the size of
parts alone, so that an export that was interrupted goes on with the next part and ends with the same files.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, Protocol

import pyarrow as pa

from anytalk.pipelines.dataset import MEASURES, SIDES, Store, matrix
from anytalk.pipelines.recipe import Side
from anytalk.synth.errors import SetupError

Row = dict[str, Any]
"""An accepted row: its columns by name; codes and features as arrays, audio as a mapping of `bytes` and `path`."""

File = tuple[str, bytes]
"""A file of an export: its path below the output folder, and its bytes."""

LeaveOut = Callable[[Row, str, str], None]
"""Count a row that does not fit the format: the row, the reason as a short slug, and the value that does not fit."""

TextForm = Literal["spoken", "written"]

MATRICES = ("question_features", "answer_codes")
SNAC_NAME = "snac_24khz"
"""End of the name of SNAC at 24 kHz on the Hugging Face hub, and of copies of it."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A run of work units of one split."""

    split: str
    number: int
    count: int
    """Parts of the split."""
    sidecars: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """Such as `train-00000-of-00012`, as the Hugging Face hub names its shards."""
        return f"{self.split}-{self.number:05d}-of-{self.count:05d}"

    @property
    def rows(self) -> int:
        """Accepted rows in it."""
        return sum(int(sidecar["accepted"]) for sidecar in self.sidecars)

    def paths(self, folder: str) -> list[str]:
        """Files of its units in `shards`, `rejects` or `attempts`."""
        files = (file["path"] for sidecar in self.sidecars for file in sidecar["files"])
        return [path for path in files if path.startswith(f"{folder}/")]


@dataclasses.dataclass(frozen=True)
class Source:
    """A finished dataset that is exported."""

    store: Store
    manifest: Mapping[str, Any]
    schema: pa.Schema
    """Of its accepted rows."""

    def rows(self, part: Part, columns: Iterable[str] | None = None) -> Iterator[Row]:
        """Accepted rows of a part in plan order, some batches of a shard at a time; all columns, or those named."""
        for path in part.paths("shards"):
            yield from self._read(path, columns)

    def kept(
        self, part: Part, folder: Literal["rejects", "attempts"], columns: Iterable[str] | None = None
    ) -> Iterator[Row]:
        """Rejected rows of a part, or the further attempts at its accepted rows."""
        for path in part.paths(folder):
            yield from self._read(path, columns)

    def conversations(self, part: Part, columns: Iterable[str], leave_out: LeaveOut) -> Iterator[list[Row]]:
        """Conversations of a part, each variant by itself, up to the first turn that was rejected."""
        keys = ("split_name", "conversation", "variant")
        turns = [*keys, "turn"]
        rejected: dict[tuple[Any, ...], int] = {}
        for row in self.kept(part, "rejects", turns):
            name = tuple(row[key] for key in keys)
            rejected[name] = min(row["turn"], rejected.get(name, row["turn"]))
        rows = self.rows(part, ["id", *turns, *columns])
        for name, group in itertools.groupby(rows, key=lambda row: tuple(row[key] for key in keys)):
            whole = []
            for row in group:
                if name in rejected and rejected[name] < row["turn"]:
                    leave_out(row, "missing_turn", f"turn {rejected[name]} before it was rejected")
                else:
                    whole.append(row)
            if whole:
                yield whole

    def _read(self, path: str, columns: Iterable[str] | None) -> Iterator[Row]:
        full = self.store.full(path)
        try:
            with pa.memory_map(full) if self.store.local else pa.BufferReader(self.store.read(path)) as file:
                names = pa.ipc.open_file(file).schema.names
                wanted = names if columns is None else [name for name in names if name in set(columns)]
                fields = [names.index(name) for name in wanted]
                reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
                for number in range(reader.num_record_batches):
                    yield from _rows_of(reader.get_batch(number))
        except (pa.ArrowException, OSError) as error:
            raise SetupError(f"{self.store}/{path} cannot be read: {error}; run: anytalk check {self.store}") from error


def _rows_of(batch: pa.RecordBatch) -> Iterator[Row]:
    matrices = [name for name in MATRICES if name in batch.schema.names]
    for index, row in enumerate(batch.drop_columns(matrices).to_pylist()):
        yield row | {name: matrix(batch.column(name), index) for name in matrices}


class Format(Protocol):
    """A way to write rows for another tool. Its fields are its options, and stand in the export's manifest."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def task_categories(self) -> Sequence[str]:
        """What its rows are for, as the Hugging Face hub calls it."""

    def prepare(self, source: Source) -> None:
        """See that this dataset can be exported so, before anything is written.

        Raises:
            SetupError: it cannot, or a library, tokenizer or model is missing.
        """
        return

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """Write a part: the same part always gives the same files."""

    def closing(self, parts: Sequence[Part], written: Store) -> Iterator[File]:
        """Write what belongs to the whole export, when all parts are written."""
        yield from ()

    def data_files(self, splits: Sequence[str]) -> dict[str, dict[str, str]]:
        """Configurations for `datasets.load_dataset`: of each, the pattern of files by split; none if it cannot."""
        return {}

    def notes(self) -> str:
        """What a reader of the card should know about the files, as Markdown."""


class TableFormat(Format, Protocol):
    """A format of one Parquet file for each part, in the folder `data`."""

    def data_files(self, splits: Sequence[str]) -> dict[str, dict[str, str]]:
        """See `Format.data_files`."""
        return {"default": {split: f"data/{split}-*.parquet" for split in splits}}


def measure_columns(sides: Sequence[Side] = SIDES) -> list[str]:
    """Names of the columns that hold measures of some sides."""
    return [f"{side}_{measure}" for side in sides for measure in MEASURES]


def measures_of(row: Row, sides: Sequence[Side] = SIDES) -> dict[str, float]:
    """Measures of a row that are there, by column."""
    return {name: row[name] for name in measure_columns(sides) if row.get(name) is not None}


def text_of(row: Row, side: Side, form: TextForm = "spoken") -> str | None:
    """The text of a side: as it was spoken, or as the source has it; None where there is none."""
    spoken: str | None = row[side]
    return (row[f"{side}_written"] if form == "written" else None) or spoken


def speaker_of(row: Row, side: Side) -> str | None:
    """Who speaks a side: the speaker that the source names, or else the voice; None for a recording of nobody named.

    >>> speaker_of({"answer_voice": "hibari:heart speed=1 pitch=1 seed=7"}, "answer")
    'heart'
    """
    if speaker := row.get(f"{side}_speaker"):
        return str(speaker)
    engine, _, voice = (row[f"{side}_voice"] or "").partition(" ")[0].rpartition(":")
    if engine in ("recording", "codes") or not voice:
        return None
    return PurePath(voice).name.removesuffix(".onnx")


def require_snac(source: Source, what: str, *, any_codec: bool) -> None:
    """See that codes are those of SNAC at 24 kHz, which is what readers of a format expect.

    Raises:
        SetupError: they are of another codec, or may be.
    """
    codec = source.manifest["fingerprints"]["codec"]["name"]
    if not any_codec and not str(codec).endswith(SNAC_NAME):
        raise SetupError(
            f"{source.store} has codes of the codec {codec!r}; {what} expects SNAC: build with "
            "codec.model=hubertsiuzdak/snac_24khz, or add --any-codec if you decode them yourself or know it is SNAC"
        )
