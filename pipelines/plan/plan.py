"""Phase 1: from a source to a committed plan: which rows there are, and which work unit holds which.

The plan is one Arrow file and a `plan.json` that announces it; what a language model is asked for is planned in parts,
each with a file and an announcement, and `plan.json` is that of the first. It is made once: a later run with the same
recipe and an unchanged source trusts it and reads nothing again. Units are read from it as they are asked for: a plan
of millions of rows takes hardly any memory.
"""

import bisect
import dataclasses
import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anytalk.pipelines.dataset import PLAN, Mapped, Store, tally
from anytalk.pipelines.source import (
    Pair,
    Recording,
)
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import file_sha256
from anytalk.synth.seed import derive_seed, row_id

_RECORDING = pa.struct(
    [
        ("name", pa.string()),
        ("sha256", pa.string()),
        ("path", pa.string()),
        ("row", pa.int32()),
        ("holds", pa.string()),
        ("channel", pa.string()),
    ]
)
PLAN_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("first_id", pa.string()),
        ("split", pa.string()),
        ("unit", pa.int32()),
        ("split_name", pa.string()),
        ("conversation", pa.string()),
        ("turn", pa.int16()),
        ("variant", pa.int16()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("question_written", pa.string()),
        ("answer_written", pa.string()),
        ("language", pa.string()),
        ("question_recording", _RECORDING),
        ("answer_recording", _RECORDING),
        ("source", pa.string()),
        ("group", pa.string()),
    ]
)
_SPEAKERS = ("question_speaker", "answer_speaker")
PLAN_SCHEMA_WITH_SPEAKERS = pa.schema([*PLAN_SCHEMA, *((name, pa.string()) for name in _SPEAKERS)])
"""Where the source names speakers."""

RECORDINGS = ("question_recording", "answer_recording")
PAIR_SCHEMA = pa.schema(
    [field for field in PLAN_SCHEMA_WITH_SPEAKERS if field.name in {one.name for one in dataclasses.fields(Pair)}]
)
"""Of the columns of a plan, those that a source fills."""


@dataclasses.dataclass(frozen=True)
class PlannedRow:
    """One row to be made: a variant of a pair, in its split and work unit."""

    id: str
    first_id: str
    """Name of the pair's first variant, which all variants share."""
    split: str
    unit: int
    pair: Pair
    variant: int

    def seed(self, recipe_seed: int) -> int:
        """The row's own seed."""
        return derive_seed(recipe_seed, self.id)

    def named(self) -> str:
        """The name that follows from the row's content, which `id` must be."""
        return name_of(self.pair, self.variant)


class PlannedUnits(Sequence[list[PlannedRow]]):
    """Units of a plan, each read when it is asked for.

    Args:
        files: of the plan.
        store: of the dataset.
    """

    def __init__(self, files: "Sequence[PlanFile]", store: Store) -> None:
        self._store, self._files = store, files
        self._batches = [batch for file in files for batch in file.batches]
        sizes = (sum(batch.num_rows for batch in file.batches) for file in files)
        self._files_first_rows = [0, *itertools.accumulate(sizes)][:-1]
        self._first_rows = [0, *itertools.accumulate(batch.num_rows for batch in self._batches)]
        # Units are numbered from 0 on, and their rows stand together.
        sizes_of_units = np.concatenate([file.unit_sizes for file in files]) if files else np.zeros(0, np.int64)
        self._starts = np.concatenate([[0], np.cumsum(sizes_of_units)])

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, number: int) -> list[PlannedRow]: ...
    @overload
    def __getitem__(self, number: slice) -> list[list[PlannedRow]]: ...
    def __getitem__(self, number: int | slice) -> list[PlannedRow] | list[list[PlannedRow]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        return self.between(*self._bounds(number))

    def row(self, place: int) -> PlannedRow:
        """One row, by its place among all rows."""
        [row] = self.between(place, place + 1)
        return row

    def between(self, start: int, end: int) -> list[PlannedRow]:
        """Rows from one place among all rows to another."""
        return [_planned(row, self._store) for row in self._rows(start, end)]

    def file(self, number: int) -> int:
        """Number of the file that a unit is in."""
        return bisect.bisect_right(self._files_first_rows, self._bounds(number)[0]) - 1

    def size(self, number: int) -> int:
        """How many rows a unit has, without reading them."""
        start, end = self._bounds(number)
        return end - start

    def rows(self) -> int:
        """How many rows all units have."""
        return int(self._starts[-1])

    def languages(self) -> set[str]:
        """BCP-47 tags of all rows."""
        return {tag for batch in self._looked() for tag in pc.unique(batch.column("language")).to_pylist()}

    def named(self, beginning: str) -> list[tuple[str, int]]:
        """Rows whose ids begin with some characters, each with its unit, in plan order."""
        found: list[tuple[str, int]] = []
        for batch in self._looked():
            chosen = batch.filter(pc.starts_with(batch.column("id"), beginning))
            found += zip(chosen.column("id").to_pylist(), chosen.column("unit").to_pylist(), strict=True)
        return found

    def _looked(self) -> Iterator[pa.RecordBatch]:
        """All batches, for a look at each."""
        for file in self._files:
            for batch in file.batches:
                yield batch
                file.mapped.looked_at(batch.nbytes)

    def _bounds(self, number: int) -> tuple[int, int]:
        number = range(len(self))[number]
        return int(self._starts[number]), int(self._starts[number + 1])

    def _rows(self, start: int, end: int) -> Iterator[dict[str, Any]]:
        place = bisect.bisect_right(self._first_rows, start) - 1
        while start < end:
            inside = start - self._first_rows[place]
            rows = self._batches[place].slice(inside, end - start).to_pylist()
            yield from rows
            # Of each column the system maps more than the rows that were read, about all of a batch.
            file = bisect.bisect_right(self._files_first_rows, start) - 1
            self._files[file].mapped.looked_at(self._batches[place].nbytes)
            start, place = start + len(rows), place + 1


def _unit_sizes(batches: Sequence[pa.RecordBatch], mapped: Mapped) -> NDArray[np.int64]:
    """How many rows each unit of a file has, whose rows stand together, in the order of units."""
    counted: list[tuple[int, NDArray[np.int64]]] = []
    for batch in batches:
        numbers = _integers(batch.column("unit"))
        counted.append((int(numbers[0]), np.bincount(numbers - numbers[0])))
        mapped.looked_at(mapped.buffer.size // len(batches))
    if not counted:
        return np.zeros(0, np.int64)
    start, (last, counts) = counted[0][0], counted[-1]
    sizes = np.zeros(last + len(counts) - start, np.int64)
    for first, counts in counted:
        sizes[first - start : first - start + len(counts)] += counts
    return sizes


def _integers(column: pa.Int32Array) -> NDArray[np.int32]:
    """A column as the array that it is; `to_numpy` would import pandas for it, which takes half a second."""
    return np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column)]


@dataclasses.dataclass(frozen=True)
class PlanFile:
    """The rows of a plan, or of a part of it."""

    path: str
    sha256: str
    schema: pa.Schema
    batches: list[pa.RecordBatch]
    unit_sizes: NDArray[np.int64]
    """How many rows each of its units has."""
    mapped: Mapped


@dataclasses.dataclass(frozen=True)
class Plan:
    """A committed plan, as far as it is committed."""

    parts: list[PlanFile]
    """Those that are there."""
    parts_in_all: int
    units: PlannedUnits
    """Of the parts that are there; units of a later one have higher numbers."""
    rejected: int
    reasons: dict[str, int]
    files: dict[str, str]
    """SHA-256 of each file of the plan, by path."""
    costs: list[dict[str, Any]]
    """What language models were sent and gave back when it was made; see `LlmClient.costs`."""
    libraries: dict[str, str]
    """Versions of the libraries that it was made with."""
    names_speakers: bool = False
    """Whether the source names who speaks in its recordings."""
    derived: dict[str, Any] | None = None
    """How the dataset was made from others, without a source of its own; see `pipelines.derive`."""

    @property
    def is_whole(self) -> bool:
        """Whether every part is there."""
        return len(self.parts) == self.parts_in_all

    @property
    def announcements(self) -> list[str]:
        """Paths of what announces its parts."""
        return [part_path(number) for number in range(len(self.parts))]

    def sha256(self, number: int) -> str:
        """Hash of all rows of the part that a unit is in."""
        return self.parts[self.units.file(number)].sha256

    @property
    def rows(self) -> int:
        """Rows in all units."""
        return self.units.rows()

    @property
    def languages(self) -> set[str]:
        """BCP-47 tags of all rows."""
        return self.units.languages()


def part_path(number: int) -> str:
    """Where a part of a plan is announced, counted from 0."""
    return f"plan/part-{number:06d}.json" if number else PLAN


def announcements(store: Store) -> list[dict[str, Any]]:
    """What the plan of a dataset announces, part by part: those that are there without a gap.

    Raises:
        FileNotFoundError: there is no plan.
    """
    first = json.loads(store.read(PLAN))
    paths = [part_path(number) for number in range(1, first.get("parts", 1))]
    there = set(store.files("plan")) if paths else set()
    return [first, *map(json.loads, store.read_each([*itertools.takewhile(there.__contains__, paths)]))]


def load_committed(store: Store, known: Plan | None = None) -> Plan:
    """Load the plan that a dataset was made from, as far as it is there.

    Args:
        store: the dataset.
        known: its plan as it was before, of which nothing is read again.

    Raises:
        SetupError: it is damaged, or of another version.
    """
    announced = announcements(store)
    first = announced[0]
    parts = [*known.parts] if known else []
    for one in announced[len(parts) :]:
        path = next(path for path in one["files"] if path.startswith("plan/"))
        parts.append(_opened(store, path, one["files"][path]))
    return Plan(
        parts,
        first.get("parts", 1),
        PlannedUnits(parts, store),
        sum(one["rejected"] for one in announced),
        tally.commonest_first(tally.added(one["reasons"] for one in announced)),
        {path: checksum for one in announced for path, checksum in one["files"].items()},
        costs_of(announced),
        first.get("libraries", {}),
        parts[0].schema == PLAN_SCHEMA_WITH_SPEAKERS,
        first.get("derived"),
    )


def costs_of(announced: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What language models were sent and gave back for a plan; for one of several parts, one entry for each model."""
    entries = [entry for one in announced for entry in one.get("asked", [])]
    if len(announced) == 1:
        return entries
    added: dict[str, dict[str, Any]] = {}
    for entry in entries:
        before = added.setdefault(entry["endpoint"], {})
        for name, value in entry.items():
            before[name] = value if name == "endpoint" or value is None else before.get(name, 0) + value
    return list(added.values())


def _opened(store: Store, path: str, checksum: str) -> PlanFile:
    mapped = _mapped(Path(store.full(path)), checksum) if store.local else _fetched(store, path, checksum)
    if mapped is None:
        raise SetupError(f"{store}/{path} is damaged: its SHA-256 is not the one in {PLAN}")
    reader = pa.ipc.open_file(mapped.buffer)
    if reader.schema not in (PLAN_SCHEMA, PLAN_SCHEMA_WITH_SPEAKERS):
        raise SetupError(f"{store} was planned by another version of anytalk; build it into another folder")
    batches: list[pa.RecordBatch] = []
    for number in range(reader.num_record_batches):
        batches.append(reader.get_batch(number))
        mapped.looked_at(mapped.buffer.size // reader.num_record_batches)
    unit_sizes = _unit_sizes(batches, mapped)
    mapped.release()
    return PlanFile(path, checksum, reader.schema, batches, unit_sizes, mapped)


def refuse_derived(plan: Plan, store: Store) -> None:
    """Refuse to make rows of a dataset that was made from others.

    Raises:
        SetupError: it was.
    """
    if plan.derived is not None:
        names = ", ".join(one["name"] for one in plan.derived["from"])
        raise SetupError(
            f"{store} was made from other datasets ({names}) by anytalk {plan.derived['by']}, and cannot be spoken or "
            "judged anew: change those, and make it again"
        )


def _fetched(store: Store, path: str, checksum: str) -> Mapped | None:
    """A file of an object store, mapped from a copy on this machine that goes with the last who reads it."""
    with tempfile.TemporaryDirectory(prefix="anytalk-") as folder:
        copy = Path(folder) / "plan.arrow"
        store.get(path, copy)
        return _mapped(copy, checksum)


def _mapped(path: Path, checksum: str) -> Mapped | None:
    """A local file as memory, if it has this SHA-256."""
    return Mapped(path) if file_sha256(path) == checksum else None


def row_values(row: PlannedRow) -> dict[str, Any]:
    """Values of a row by column of a plan."""
    own = {"id": row.id, "first_id": row.first_id, "split": row.split, "unit": row.unit, "variant": row.variant}
    return pair_values(row.pair) | own


def pair_values(pair: Pair) -> dict[str, Any]:
    """Values of a pair by column; a third of the time that `dataclasses.asdict` takes."""
    values = dict(vars(pair))
    for side in RECORDINGS:
        if values[side] is not None:
            values[side] = vars(values[side])
    return values


def pair_of(values: dict[str, Any]) -> Pair:
    """Undo `pair_values`."""
    for side in RECORDINGS:
        if values[side] is not None:
            values[side] = Recording(**values[side])
    return Pair(**values)


def _planned(row: dict[str, Any], store: Store) -> PlannedRow:
    own = {key: row.pop(key) for key in ("id", "first_id", "split", "unit", "variant")}
    for side in RECORDINGS:
        if row[side] is not None and row[side]["row"] is not None:
            row[side]["path"] = f"{store}/{row[side]['path']}"
    return PlannedRow(pair=pair_of(row), **own)


def name_of(pair: Pair, variant: int) -> str:
    """Name of a row, which follows from its content."""
    hashes = pair.recording_hashes()
    question, answer = (getattr(pair, f"{side}_written") or getattr(pair, side) for side in ("question", "answer"))
    return row_id(pair.split_name, pair.conversation, pair.turn, question or "", answer, hashes, variant)
