"""Write a unit's rows out: accepted ones with features and codes, rejected ones with their attempts, and the counts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anytalk.pipelines.dataset.commit import count
from anytalk.pipelines.dataset.schema import ANSWER_RATE_HZ, QUESTION_RATE_HZ, SIDES
from anytalk.pipelines.dataset.tally import tally
from anytalk.pipelines.plan.plan import PlannedRow
from anytalk.pipelines.recipe.dataset import Recipe
from anytalk.pipelines.recipe.source import Side

from .attempts import Attempt, RowAttempts, audio_of, measured, stored
from .augment import Change, change, is_changed
from .pool import Engines


@dataclasses.dataclass(frozen=True)
class UnitRows:
    """What became of a unit's rows."""

    accepted: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    """All other attempts at accepted rows."""
    facts: dict[str, Any]
    """Counts, for the unit's sidecar."""


async def _written(ended: Sequence[RowAttempts], engines: Engines, recipe: Recipe) -> UnitRows:
    """Encode what was accepted, and write all rows out."""
    complete = [end for end in ended if end.failed_side is None]
    questions = {end.row.id: end.chosen("question") for end in complete}
    answers = {end.row.id: end.chosen("answer") for end in complete}
    changes = await _changes(complete, questions, engines, recipe)
    features = await _features(questions, changes, engines) if recipe.features.store else {}
    codes = await _encoded(answers, engines)
    accepted, attempts = [], []
    for end in complete:
        name, question, answer = end.row.id, questions[end.row.id], answers[end.row.id]
        assert question is not None
        changed = changes.get(name)
        accepted.append(_accepted(end, question, answer, changed, features.get(name), codes.get(name), recipe))
        made = [(take, side) for side in SIDES for take in end.takes[side]]
        # Of a question that was changed the row holds the changed sound, so that the one that was judged is kept here.
        held = (answer,) if changed else (question, answer)
        if others := [stored(take, side, name) for take, side in made if not any(take is one for one in held)]:
            attempts.append({"id": name, "attempts": others})
    rejected = [_rejected(end) for end in ended if end.failed_side is not None]
    speech_s = round(sum(_seconds(row) for row in accepted), 3)
    return UnitRows(accepted, rejected, attempts, facts_of(ended) | {"speech_s": speech_s})


def facts_of(ended: Sequence[RowAttempts]) -> dict[str, Any]:
    """Count what the attempts at a unit's rows came to, and list the rows that another attempt may mend."""
    reasons = [end.reason for end in ended if end.reason is not None]
    stored_attempts = (take for end in ended for side in SIDES for take in end.takes[side] if take.is_stored)
    return {
        "accepted": len(ended) - len(reasons),
        "rejected": len(reasons),
        "rerolled": sum(end.reason is None and end.attempts > 1 for end in ended),
        "reasons": count(reasons),
        "gates": tally([end.outcomes() for end in ended]),
        "rows_by_language": count(end.row.pair.language for end in ended if end.reason is None),
        "utterances_by_voice": count(take.speaker for take in stored_attempts),
        "open": [end.need() for end in ended if end.is_open],
    }


async def _changes(
    ended: Sequence[RowAttempts], questions: Mapping[str, Attempt | None], engines: Engines, recipe: Recipe
) -> dict[str, Change]:
    """Questions that are changed, by row; what an earlier run changed, or gave up, is not tried again."""
    known = {name: take.change for name, take in questions.items() if take and take.change}
    due, clean = [], []
    for end in ended:
        take = questions[end.row.id]
        assert take is not None
        assert take.heard is not None
        # What is to be changed is not heard in full: with features, its change was given up before.
        if take.change is None and take.heard.features is None and is_changed(end.row, recipe):
            sound = take.sound()
            assert sound is not None
            due.append(end.row)
            clean.append((sound, take.text or end.row.pair.question or take.heard.text))
    if not due:
        return known
    made = zip(due, await change(due, clean, engines, recipe), strict=True)
    return known | {row.id: changed for row, changed in made if changed is not None}


async def _features(
    questions: Mapping[str, Attempt | None], changes: Mapping[str, Change], engines: Engines
) -> dict[str, np.ndarray | None]:
    """Features of each question; one that was not heard in full is heard once more for them."""
    known = {name: take.heard.features if take and take.heard else None for name, take in questions.items()}
    known |= {name: changed.heard.features for name, changed in changes.items()}
    sounds = {name: take.sound() for name, take in questions.items() if take and known[name] is None}
    if not sounds:
        return known
    return known | dict(zip(sounds, await engines.call("hearing", "features", list(sounds.values())), strict=True))


async def _encoded(answers: Mapping[str, Attempt | None], engines: Engines) -> dict[str, np.ndarray]:
    """Codes of each answer that there is; what has codes already is not encoded."""
    codes = {name: take.codes for name, take in answers.items() if take and take.codes is not None}
    sounds = {name: take.sound() for name, take in answers.items() if take and name not in codes}
    encoded = await engines.call("codec", "encode", list(sounds.values())) if sounds else []
    return codes | dict(zip(sounds, encoded, strict=True))


def _seconds(row: dict[str, Any]) -> float:
    return float(row["question_samples"] / QUESTION_RATE_HZ + (row["answer_samples"] or 0) / ANSWER_RATE_HZ)


def _accepted(
    end: RowAttempts,
    question: Attempt,
    answer: Attempt | None,
    changed: Change | None,
    features: np.ndarray | None,
    codes: np.ndarray | None,
    recipe: Recipe,
) -> dict[str, Any]:
    row = end.row
    made: dict[str, Any] = {
        "question_features": features,
        "answer_codes": codes,
        "attempts": end.attempts,
        "seed": row.seed(recipe.seed),
        "question_augmentation": changed and changed.description,
        "question_augmented_transcript": changed and changed.heard.text,
        "question_augmented_wer": changed and changed.wer,
    }
    sides: tuple[tuple[Side, Attempt | None], ...] = (("question", question), ("answer", answer))
    for side, take in sides:
        made |= {
            f"{side}_audio": audio_of(take, side, f"{row.id}-{side}"),
            f"{side}_samples": take and take.samples,
            f"{side}_voice": take and take.voice,
            f"{side}_transcript": take and take.heard and take.heard.text,
        }
        made |= {f"{side}_{name}": value for name, value in measured(take).items()}
        if take and take.text:
            made[side] = take.text
        if take and take.is_transcribed and take.heard:
            made |= {side: take.heard.text, f"{side}_written": take.heard.text}
    if changed is not None:
        sound = dataclasses.replace(question, waveform=changed.waveform, flac=changed.flac)
        made |= {
            "question_audio": audio_of(sound, "question", f"{row.id}-question"),
            "question_samples": sound.samples,
        }
    return _named(row) | made


def _rejected(end: RowAttempts) -> dict[str, Any]:
    return _named(end.row) | {
        "reason": end.reason,
        "detail": end.detail,
        "source": end.row.pair.source,
        "attempts": [stored(take, side, end.row.id) for side in SIDES for take in end.takes[side]],
    }


def _named(row: PlannedRow) -> dict[str, Any]:
    pair = row.pair
    return {
        "id": row.id,
        "split_name": pair.split_name,
        "conversation": pair.conversation,
        "turn": pair.turn,
        "variant": row.variant,
        "question": pair.question,
        "answer": pair.answer,
        "question_written": pair.question_written or pair.question,
        "answer_written": pair.answer_written or pair.answer,
        "language": pair.language,
    }
