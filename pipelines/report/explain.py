"""Why a row is accepted, rejected or deferred, and what would change that.

Every command that is named was tried before on the stored measures of the row, so that it does what is said of it.
"""

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

from anytalk.pipelines.dataset import SIDES
from anytalk.pipelines.recipe import Check, Side
from anytalk.pipelines.speech import RowAttempts
from anytalk.pipelines.speech.attempts import FINAL, UNSPOKEN, best, may_help
from anytalk.synth.judge.policy import GATES, REASONS
from anytalk.synth.wording import quantity

from .rows import ACCEPTED, REJECTED
from .whole import DEFERRED, WholeRow, failures_of

MOST_ATTEMPTS = 20
"""Of `check.attempts`."""

ADVICE = {
    "near_duplicate": "a higher dedup.threshold",
    "repeat": "clean.drop_repeats: false",
    "contaminated": "a higher decontaminate.min_overlap",
    "too_long_text": "a higher clean.max_question_characters or clean.max_answer_characters",
    "wrong_language": "clean.identify_language: false, or the right language",
    "too_long": "a shorter text, or a higher audio.max_answer_s",
    "code": "clean.style_tags with the tag, if it is a sound such as <laugh>, or another text",
    "brackets": "clean.style_tags with the tag, if it is a sound such as [sigh], or another text",
    "empty_question": "a question (source.columns.question names its column)",
    "empty_answer": "an answer (source.columns.answer names its column)",
    "missing_audio": "the recording at that place",
    "missing_transcript": "a transcript beside the recording, or source.transcribe: true",
    "channels_differ": "source.channel: left, right or mix",
    "unused_file": "a line or a transcript for it, if it is a recording",
}
"""What a recipe would have to say for a row to pass, by reason, where no judgement decides it."""


HARMLESS = {"system_text", "unanswered_question", "unasked_answer"}
"""Reasons of messages of a chat that is read without them."""


@dataclasses.dataclass(frozen=True)
class Change:
    """A command, and what it does to the row."""

    command: str
    effect: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a row is what it is.

    Attributes:
        id: of the row.
        outcome: accepted, rejected or deferred.
        reason: of a rejected row.
        because: sentences, the first of which says it.
        changes: commands that would change it.
        otherwise: what would change it and is no command, such as another text.
    """

    id: str
    outcome: str
    reason: str | None
    because: list[str]
    changes: list[Change]
    otherwise: str | None = None


def explain(dataset: str, row: WholeRow) -> Explanation:
    """Say why a row is accepted, rejected or deferred, and what command would change that.

    Args:
        dataset: as the person named it; commands name it likewise.
        row: of `whole_row`.
    """
    name = shlex.quote(dataset)
    if row.outcome == DEFERRED:
        command = f"anytalk judge {name}" if row.judgement.number else f"anytalk build {name}"
        because = [f"{row.detail}: nobody made it yet, or something failed that is not the row's fault"]
        return Explanation(row.id, row.outcome, None, because, [Change(command, "makes what is missing")])
    if row.attempted is None:
        advice = ADVICE.get(row.reason or "", "another text")
        otherwise = f"in {row.facts['source'] or 'the source'} or the recipe: {advice}; then build into another folder"
        if row.reason in HARMLESS:
            otherwise = "nothing needs to: the rest of its chat is read without it"
        why = f"the plan rejected it as {row.reason}: {row.detail}"
        return Explanation(row.id, row.outcome, row.reason, [why], [], otherwise)
    if row.outcome == ACCEPTED:
        return Explanation(row.id, ACCEPTED, None, _passes(row.attempted), _rejecting(name, row.attempted))
    changes = [*_loosened(name, row.attempted), *_respoken(name, row.attempted)]
    return Explanation(
        row.id, REJECTED, row.reason, _fails(row.attempted), changes, None if changes else _otherwise(row.attempted)
    )


def judged(attempted: RowAttempts, settings: Mapping[str, Any]) -> RowAttempts:
    """The row as another policy judges it, from what is stored.

    Args:
        attempted: the row.
        settings: bounds and `attempts`, by dotted key below `check`.
    """
    tree = attempted.check.model_dump()
    for key, value in settings.items():
        section, _, bound = key.rpartition(".")
        (tree[section] if section else tree)[bound] = value
    check = Check.model_validate(tree)
    attempts = {side: [one.judged(getattr(check, side)) for one in attempted.attempts[side]] for side in SIDES}
    return RowAttempts(attempted.row, attempts, check)


def _passes(attempted: RowAttempts) -> list[str]:
    said = []
    for side in SIDES:
        attempt = attempted.chosen(side)
        if attempt is None:
            continue
        made = attempted.within(side)
        which = f"attempt {attempt.number} of its {side}" if len(made) > 1 else f"its {side}"
        said.append(f"{which} passes every gate" if attempt.measures else f"{which} is kept as it came, unmeasured")
        for one in made[: made.index(attempt)]:
            said.append(f"attempt {one.number} of its {side} failed as {one.reason}: {one.detail}")
    return said


def _fails(attempted: RowAttempts) -> list[str]:
    side = attempted.failed_side
    assert side is not None
    made = attempted.within(side)
    if not made:
        return ["its question passes now, but failed when answers were spoken: its answer was never spoken"]
    nearest, policy = best(made), getattr(attempted.check, side)
    said = [f"its {side} fails as {attempted.reason}: {nearest.detail or 'no more is known'}"]
    said += [f"the same attempt also fails as {one.reason}: {one}" for one in failures_of(nearest.measures, policy)[1:]]
    said += [f"attempt {one.number} fails as {one.reason}: {one.detail}" for one in made if one is not nearest]
    return said


def _loosened(name: str, attempted: RowAttempts) -> list[Change]:
    """The bounds that let a stored attempt pass, found one side after the other."""
    settings: dict[str, Any] = {}
    now = attempted
    for _ in SIDES:
        side = now.failed_side
        if side is None or not now.within(side):
            break
        found = _bounds_for(now, side)
        if found is None:
            return []
        settings |= found
        now = judged(attempted, settings)
    if not settings or (now.failed_side is not None and now.reason != UNSPOKEN):
        return []
    command = f"anytalk judge {name} {_set(settings)}"
    if now.reason == UNSPOKEN:
        return [Change(f"{command} --reroll", "accepts its question, then speaks and checks its answer")]
    return [Change(command, "accepts it with a stored attempt; add --dry-run to see first what else it moves")]


def _bounds_for(attempted: RowAttempts, side: Side) -> dict[str, Any] | None:
    """Bounds of a side that the attempt passes which needs fewest and smallest changes; None where none does."""
    policy = getattr(attempted.check, side)
    options = []
    for attempt in attempted.within(side):
        # What was never measured, or failed for something else, stays failed.
        if attempt.measures is None or attempt.reason not in REASONS:
            continue
        failed = failures_of(attempt.measures, policy)
        oversteps = sum(abs(one.value - one.bound) / (abs(one.bound) or 1.0) for one in failed)
        bounds = {_bound_name(one.reason): _outside(one.value, one.reason) for one in failed}
        options.append((len(failed), oversteps, attempt.number, {f"{side}.{k}": v for k, v in bounds.items()}))
    return min(options, key=lambda option: option[:3])[3] if options else None


def _respoken(name: str, attempted: RowAttempts) -> list[Change]:
    """Another attempt, within the budget or beyond it."""
    side = attempted.failed_side
    assert side is not None
    made, budget = attempted.within(side), attempted.check.attempts
    if attempted.is_retryable:
        left = quantity(budget - len(made), "more attempt")
        return [Change(f"anytalk judge {name} --reroll", f"speaks its {side} again, up to {left}: it may pass")]
    if budget >= MOST_ATTEMPTS or not may_help(attempted.row, side, attempted.attempts[side]):
        return []
    more = min(MOST_ATTEMPTS, max(budget, len(attempted.attempts[side])) + 2)
    command = f"anytalk judge {name} --set check.attempts={more} --reroll"
    return [Change(command, f"speaks its {side} again, up to {quantity(more, 'attempt')} in all: it may pass")]


def _otherwise(attempted: RowAttempts) -> str:
    side = attempted.failed_side
    assert side is not None
    reason = attempted.reason or ""
    if getattr(attempted.row.pair, f"{side}_recording") is not None:
        return f"its {side} is a recording, which no further attempt changes: another recording, or another text"
    why = "no other attempt can mend that" if reason in FINAL else "no stored attempt passes under any threshold"
    return f"{why}; in the recipe or the text: {ADVICE.get(reason, 'another text')}; then build into another folder"


def _rejecting(name: str, attempted: RowAttempts) -> list[Change]:
    """The threshold that is nearest to the row on the far side."""
    options = []
    for side in SIDES:
        attempt = attempted.chosen(side)
        for reason, measure, bound in GATES:
            value = getattr(attempt.measures, measure) if attempt and attempt.measures else None
            now = getattr(getattr(attempted.check, side), bound)
            tighter = None if value is None or now is None else _inside(value, bound)
            if tighter is not None and value is not None:
                options.append((abs(value - now) / (abs(now) or 1.0), {f"{side}.{bound}": tighter}, side, reason))
    for _, settings, side, reason in sorted(options, key=lambda option: option[0]):
        try:
            then = judged(attempted, settings)
        except ValueError:  # Such as a fastest pace that is slower than the slowest.
            continue
        if then.failed_side is not None:
            effect = f"rejects it: its {side} is the nearest to {reason}"
        elif _numbers(then) != _numbers(attempted):
            effect = f"takes another stored attempt at its {side} instead"
        else:
            continue
        return [Change(f"anytalk judge {name} {_set(settings)}", effect)]
    return []


def _numbers(attempted: RowAttempts) -> list[int | None]:
    chosen = [attempted.chosen(side) for side in SIDES]
    return [None if attempt is None else attempt.number for attempt in chosen]


def _set(settings: Mapping[str, Any]) -> str:
    return " ".join(f"--set check.{key}={json.dumps(value)}" for key, value in settings.items())


def _bound_name(reason: str) -> str:
    return next(bound for known, _, bound in GATES if known == reason)


def _outside(value: float, reason: str) -> float | None:
    """A bound of two decimals, or as many as it takes, that a value just passes; None switches the gate off."""
    if not math.isfinite(value) or value < 0:
        return None
    for decimals in (2, 4):
        scale = 10**decimals
        rounded = (math.ceil if _bound_name(reason).startswith("max_") else math.floor)(value * scale) / scale
        # As near as it is simple: 0.2857 becomes 0.29, but 0.0012 does not become 0.01.
        if abs(rounded - value) <= 0.05 * abs(value):
            return rounded
    return value


def _inside(value: float, bound: str) -> float | None:
    """A bound that a value just fails; None where there is none, as below zero."""
    if not math.isfinite(value):
        return None
    tighter = round(value + (-0.0001 if bound.startswith("max_") else 0.0001), 4)
    return tighter if tighter >= 0 else None
