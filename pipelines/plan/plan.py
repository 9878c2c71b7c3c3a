"""Phase 1: from a source to a committed plan: which rows there are, and which work unit holds which.

The plan is one Arrow file and a `plan.json` that announces it. It is made once: a later run with the same recipe and an
unchanged source trusts it and reads nothing again.
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from anytalk.pipelines.dataset import PLAN, Store, schema
from anytalk.pipelines.source import (
    Pair,
    Recording,
)
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256
from anytalk.synth.seed import derive_seed, row_id

_RECORDING = pa.struct(
    [("name", pa.string()), ("sha256", pa.string()), ("path", pa.string()), ("row", pa.int32()), ("holds", pa.string())]
)
_PLAN_SCHEMA = pa.schema(
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


@dataclasses.dataclass(frozen=True)
class Plan:
    """A committed plan."""

    units: list[list[PlannedRow]]
    rejected: int
    reasons: dict[str, int]
    files: dict[str, str]
    """SHA-256 of each file of the plan, by path."""
    costs: list[dict[str, Any]]
    """What language models were sent and gave back when it was made; see `LlmClient.costs`."""

    @property
    def rows(self) -> int:
        """Rows in all units."""
        return sum(len(unit) for unit in self.units)

    @property
    def languages(self) -> set[str]:
        """BCP-47 tags of all rows."""
        return {row.pair.language for unit in self.units for row in unit}


def load_committed(store: Store) -> Plan:
    """Load the plan that a dataset was made from.

    Raises:
        SetupError: it is damaged, or of another version.
    """
    announced = json.loads(store.read(PLAN))
    path = next(path for path in announced["files"] if path.startswith("plan/"))
    content = store.read(path)
    if sha256(content) != announced["files"][path]:
        raise SetupError(f"{store}/{path} is damaged: its SHA-256 is not the one in {PLAN}")
    table = pa.ipc.open_file(content).read_all()
    if table.schema != _PLAN_SCHEMA:
        raise SetupError(f"{store} was planned by another version of anytalk; build it into another folder")
    units: list[list[PlannedRow]] = []
    for row in table.to_pylist():
        if row["unit"] == len(units):
            units.append([])
        units[-1].append(_planned(row, store))
    return Plan(units, announced["rejected"], announced["reasons"], announced["files"], announced.get("asked", []))


def plan_table(rows: Iterable[PlannedRow]) -> pa.Table:
    """Rows as they are stored in a plan."""
    values = []
    for row in rows:
        flat = dataclasses.asdict(row.pair) | {"id": row.id, "first_id": row.first_id, "split": row.split}
        values.append(flat | {"unit": row.unit, "variant": row.variant})
    return schema.table(values, _PLAN_SCHEMA)


def _planned(row: dict[str, Any], store: Store) -> PlannedRow:
    own = {key: row.pop(key) for key in ("id", "first_id", "split", "unit", "variant")}
    for side in ("question_recording", "answer_recording"):
        if row[side] is not None:
            recording = Recording(**row[side])
            kept = recording.row is not None
            row[side] = dataclasses.replace(recording, path=f"{store}/{recording.path}") if kept else recording
    return PlannedRow(pair=Pair(**row), **own)


def name_of(pair: Pair, variant: int) -> str:
    """Name of a row, which follows from its content."""
    hashes = pair.recording_hashes()
    question, answer = (getattr(pair, f"{side}_written") or getattr(pair, side) for side in ("question", "answer"))
    return row_id(pair.split_name, pair.conversation, pair.turn, question or "", answer, hashes, variant)
