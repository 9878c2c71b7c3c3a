"""Some rows of a plan as a plan of their own: to calibrate with, or to listen to before all of them are made."""

import dataclasses
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anytalk.pipelines.dataset import SIDES, RowWriter, Store
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.source import Attachments, Pair, Recording, read_recording
from anytalk.synth.text.duration import spoken_seconds

from .make import commit_plan, stamp_of
from .plan import PLAN_SCHEMA, PLAN_SCHEMA_WITH_SPEAKERS, Plan, PlannedRow, row_values


def said_s(plan: Plan) -> NDArray[np.float32]:
    """How long each row would take to say, by its letters; a side that is a recording counts nothing."""
    rows = itertools.chain.from_iterable(plan.units[number] for number in range(len(plan.units)))
    return np.fromiter((pair_s(row.pair) for row in rows), np.float32, plan.rows)


def pair_s(pair: Pair) -> float:
    """How long a pair would take to say, but for its recordings, by its letters."""
    texts = [getattr(pair, side) for side in SIDES if getattr(pair, f"{side}_recording") is None]
    return sum(spoken_seconds(text, pair.language) for text in texts if text)


def spread(plan: Plan, lengths_s: NDArray[np.float32], count: int) -> list[PlannedRow]:
    """Rows that stand for all of a plan: short and long ones in their proportion, in plan order.

    Args:
        plan: to take them from.
        lengths_s: see `said_s`.
        count: how many; all of a plan that has fewer.
    """
    count = min(count, plan.rows)
    order = np.argsort(lengths_s, kind="stable")
    # The middle of each of `count` equal parts of the order by length (systematic sampling).
    middles = [int((part + 0.5) * plan.rows / count) for part in range(count)]
    return [plan.units.row(place) for place in sorted(int(order[middle]) for middle in middles)]


def commit_sample(store: Store, recipe: Recipe, rows: Sequence[PlannedRow], unit_rows: int) -> None:
    """Commit rows of another plan as the plan of a dataset.

    Args:
        store: of the new dataset.
        recipe: of the new dataset.
        rows: in the order of the other plan. They keep names and seeds, so that each becomes what it is there.
        unit_rows: most rows of a unit.
    """
    attachments = Attachments(store)
    kept: list[PlannedRow] = []
    unit = filled = 0
    for row in rows:
        if kept and (filled == unit_rows or kept[-1].split != row.split):
            unit, filled = unit + 1, 0
        recordings = {f"{side}_recording": _kept(getattr(row.pair, f"{side}_recording"), attachments) for side in SIDES}
        pair = dataclasses.replace(row.pair, **recordings)  # type: ignore[arg-type]
        kept.append(dataclasses.replace(row, pair=pair, unit=unit))
        filled += 1
    attachments.close()
    speakers = any(row.pair.question_speaker or row.pair.answer_speaker for row in kept)
    with tempfile.TemporaryDirectory() as folder:
        kind = PLAN_SCHEMA_WITH_SPEAKERS if speakers else PLAN_SCHEMA
        with RowWriter(Path(folder) / "plan.arrow", kind, batch_rows=1024) as written:
            written.extend(map(row_values, kept))
        commit_plan(store, recipe, written, None, stamp_of(recipe), [])


def _kept(recording: Recording | None, attachments: Attachments) -> Recording | None:
    """A recording as the new plan names it: those that the other one has in packs are copied."""
    if recording is None or recording.row is None:
        return recording
    copied = attachments.add(read_recording(recording), recording.name, recording.holds)
    return dataclasses.replace(copied, channel=recording.channel)
