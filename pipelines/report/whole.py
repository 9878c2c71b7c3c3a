"""One row whole: what was planned, every attempt at it, and the gates that each failed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from anytalk.pipelines.dataset import PLAN, SIDES, Judgement, Store, commit, current_judgement
from anytalk.pipelines.plan import Plan, PlannedRow, load_committed
from anytalk.pipelines.recipe import Side
from anytalk.pipelines.speech import Attempt, RowAttempts, read_unit
from anytalk.synth.errors import SetupError
from anytalk.synth.judge.measure import Measures
from anytalk.synth.judge.policy import FailedCheck, Policy, failures

from .rows import ACCEPTED, REJECTED, read_batches

DEFERRED = "deferred"
"""Outcome of a row whose unit is not committed: nobody made it yet, or something failed that is not its fault."""


@dataclasses.dataclass(frozen=True)
class WholeRow:
    """One row of a dataset.

    Attributes:
        id: of the row.
        outcome: accepted, rejected or deferred.
        reason: why it was rejected; None of others.
        detail: more of the reason, for a person.
        facts: what else is known: texts, split, unit, shard, place in the source.
        judgement: that the dataset is judged by.
        attempted: attempts at it; None of a row that the plan rejected, or that is deferred.
    """

    id: str
    outcome: str
    reason: str | None
    detail: str
    facts: Mapping[str, Any]
    judgement: Judgement
    attempted: RowAttempts | None = None

    def failures(self, side: Side, attempt: Attempt) -> list[FailedCheck]:
        """Every gate that an attempt fails."""
        return failures_of(attempt.measures, getattr(self.judgement.recipe.check, side))

    def as_json(self) -> dict[str, Any]:
        """Everything but the sounds, for a program."""
        known = {"id": self.id, "outcome": self.outcome, "reason": self.reason, "detail": self.detail, **self.facts}
        if self.attempted is None:
            return known | {"attempts": []}
        made = self.attempted
        return known | {
            "attempts": [
                {
                    "side": side,
                    "attempt": attempt.number,
                    "chosen": attempt is made.chosen(side),
                    "reason": attempt.reason,
                    "detail": attempt.detail,
                    "voice": attempt.voice,
                    "text": attempt.text,
                    "transcript": attempt.heard.text if attempt.heard else None,
                    "samples": attempt.samples,
                    "measures": dataclasses.asdict(attempt.measures) if attempt.measures else None,
                    "failed": [
                        {"reason": one.reason, "measure": one.measure, "value": one.value, "bound": one.bound}
                        for one in self.failures(side, attempt)
                    ],
                }
                for side in SIDES
                for attempt in made.attempts[side]
            ]
        }


def failures_of(measures: Measures | None, policy: Policy) -> list[FailedCheck]:
    """Every gate that measures fail; none where nothing was measured."""
    return [] if measures is None else list(failures(measures, policy))


def whole_row(dataset: str, name: str) -> WholeRow:
    """Find a row, and read all that is known of it.

    Args:
        dataset: folder or URL; it need not be finished.
        name: id of the row, or its first characters where no other row's begins so.

    Raises:
        SetupError: there is no dataset, no such row, or several; or a file of it cannot be read.
        EngineError: a file of the row's unit is damaged.
    """
    store = Store(dataset)
    if not store.exists(PLAN):
        raise SetupError(f"{store} holds no anytalk dataset")
    judgement, plan = current_judgement(store), load_committed(store)
    planned = plan.units.named(name)
    rejected = [row for row in _rejected_by(plan, store) if row["id"].startswith(name)]
    ids = list(dict.fromkeys([*(one for one, _ in planned), *(row["id"] for row in rejected)]))
    ids = [name] if name in ids else ids
    if not name or len(ids) != 1:
        several = f"{len(ids):,} rows begin with it; the first are {', '.join(ids[:3])}" if ids else "there is none"
        raise SetupError(f"{store} has no row {name!r}: {several}; anytalk show {store} lists rows")
    for own in rejected:
        if own["id"] == ids[0]:
            facts = {key: value for key, value in own.items() if key not in ("id", "reason", "detail")}
            return WholeRow(ids[0], REJECTED, own["reason"], own["detail"], {"phase": "plan", **facts}, judgement)
    unit = next(unit for one, unit in planned if one == ids[0])
    planned_unit = plan.units[unit]
    row = next(row for row in planned_unit if row.id == ids[0])
    paths = commit.sidecar_paths(store).get(unit, [])
    if not paths:
        facts = _facts(row, judgement, None)
        return WholeRow(row.id, DEFERRED, None, f"unit {unit} is not committed", facts, judgement)
    sidecar = commit.latest_sidecar(store, paths)
    # Until a unit is judged again, what counts is the policy that it was judged by.
    attempts, accepted = read_unit(store, sidecar, planned_unit, judgement.recipe)
    attempted = RowAttempts(row, attempts[row.id], judgement.recipe.check)
    facts = _facts(row, judgement, sidecar)
    if row.id in accepted:
        return WholeRow(row.id, ACCEPTED, None, "", facts, judgement, attempted)
    return WholeRow(row.id, REJECTED, attempted.reason, attempted.detail, facts, judgement, attempted)


def _rejected_by(plan: Plan, store: Store) -> list[dict[str, Any]]:
    paths = [path for path in plan.files if path.startswith("rejects/")]
    columns = ("id", "reason", "detail", "source", "split_name", "conversation", "turn", "variant", "language")
    texts = ("question", "answer", "question_written", "answer_written")
    return [
        row for path in paths for table in read_batches(store, path, [*columns, *texts]) for row in table.to_pylist()
    ]


def _facts(row: PlannedRow, judgement: Judgement, sidecar: Mapping[str, Any] | None) -> dict[str, Any]:
    pair = row.pair
    files = {file["path"].partition("/")[0]: file["path"] for file in sidecar["files"]} if sidecar else {}
    return {
        "question": pair.question,
        "answer": pair.answer,
        "question_written": pair.question_written or pair.question,
        "answer_written": pair.answer_written or pair.answer,
        "language": pair.language,
        "split": row.split,
        "split_name": pair.split_name,
        "conversation": pair.conversation,
        "turn": pair.turn,
        "variant": row.variant,
        "question_speaker": pair.question_speaker,
        "answer_speaker": pair.answer_speaker,
        "seed": row.seed(judgement.recipe.seed),
        "source": pair.source,
        "unit": row.unit,
        "judgement": sidecar["judgement"] if sidecar else None,
        "files": files,
    }
