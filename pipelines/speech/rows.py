"""Write a unit's rows out: accepted ones with features and codes, rejected ones with their attempts, and the counts."""

import asyncio
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from anytalk.pipelines.dataset import ANSWER_RATE_HZ, QUESTION_RATE_HZ, SIDES, tally
from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import Recipe, Side
from anytalk.synth.errors import SampleError
from anytalk.synth.text import without_tags

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


async def write_rows(rows: Sequence[RowAttempts], engines: Engines, recipe: Recipe) -> UnitRows:
    """Encode what was accepted, and write all rows out; an answer that cannot be encoded fails its row."""
    codes = await _encoded(rows, engines)
    complete = [attempted for attempted in rows if attempted.failed_side is None]
    questions = {attempted.row.id: attempted.chosen("question") for attempted in complete}
    changes = await _changes(complete, questions, engines, recipe)
    features = await _features(questions, changes, engines) if recipe.features.store else {}
    for attempted in complete:
        if isinstance(error := features.get(attempted.row.id), SampleError):
            _fail(attempted, "question", error)
    # In a thread, so that other units of this process go on while sounds are packed.
    return await asyncio.to_thread(_packed, rows, changes, features, codes, recipe)


def _packed(
    rows: Sequence[RowAttempts],
    changes: Mapping[str, Change],
    features: Mapping[str, np.ndarray | SampleError | None],
    codes: Mapping[str, np.ndarray],
    recipe: Recipe,
) -> UnitRows:
    """Write rows out, now that all is known of them."""
    accepted, attempts = [], []
    for attempted in rows:
        if attempted.failed_side is not None:
            continue
        name, question, answer = attempted.row.id, attempted.chosen("question"), attempted.chosen("answer")
        assert question is not None
        changed, states = changes.get(name), features.get(name)
        assert not isinstance(states, SampleError)
        accepted.append(_accepted(attempted, question, answer, changed, states, codes.get(name), recipe))
        if others := _others(attempted, is_changed=changed is not None):
            attempts.append({"id": name, "attempts": others})
    rejected = [_rejected(attempted) for attempted in rows if attempted.failed_side is not None]
    speech_s = round(sum(_seconds(row) for row in accepted), 3)
    return UnitRows(accepted, rejected, attempts, facts_of(rows) | {"speech_s": speech_s})


def _others(attempted: RowAttempts, *, is_changed: bool) -> list[dict[str, Any]]:
    """The attempts at an accepted row that it does not hold itself."""
    # Of a question that was changed the row holds the changed sound, so that the one that was judged is kept here.
    sides = SIDES[1:] if is_changed else SIDES
    held = [attempted.chosen(side) for side in sides]
    made = [(attempt, side) for side in SIDES for attempt in attempted.attempts[side]]
    return [
        stored(attempt, side, attempted.row.id) for attempt, side in made if not any(attempt is one for one in held)
    ]


def written_besides(rows: Sequence[RowAttempts], folders: Collection[str], speech_s: float) -> UnitRows:
    """Write out what changes of a unit whose accepted rows stay as they are.

    Args:
        rows: of the unit; the sound of those that change was read.
        folders: `rejects` and `attempts`, or the one of them that changes.
        speech_s: length of the accepted rows.
    """
    attempts: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for attempted in rows:
        if attempted.failed_side is not None:
            rejected += [_rejected(attempted)] if "rejects" in folders else []
        elif "attempts" in folders:
            question = attempted.chosen("question")
            others = _others(attempted, is_changed=question is not None and question.change is not None)
            attempts += [{"id": attempted.row.id, "attempts": others}] if others else []
    return UnitRows([], rejected, attempts, facts_of(rows) | {"speech_s": speech_s})


def facts_of(rows: Sequence[RowAttempts]) -> dict[str, Any]:
    """Count what the attempts at a unit's rows came to, and list the rows that another attempt may mend."""
    reasons = [attempted.reason for attempted in rows if attempted.reason is not None]
    every_attempt = (attempt for attempted in rows for side in SIDES for attempt in attempted.attempts[side])
    return {
        "accepted": len(rows) - len(reasons),
        "rejected": len(reasons),
        "rerolled": sum(attempted.reason is None and attempted.attempt_count > 1 for attempted in rows),
        "reasons": tally.counted(reasons),
        "gates": tally.tally([attempted.outcomes() for attempted in rows]),
        "rows_by_language": tally.counted(
            attempted.row.pair.language for attempted in rows if attempted.reason is None
        ),
        "utterances_by_voice": tally.counted(attempt.speaker for attempt in every_attempt if attempt.is_stored),
        "open": [attempted.retry_facts() for attempted in rows if attempted.is_retryable],
    }


async def _changes(
    rows: Sequence[RowAttempts], questions: Mapping[str, Attempt | None], engines: Engines, recipe: Recipe
) -> dict[str, Change]:
    """Questions that are changed, by row; what an earlier run changed, or gave up, is not tried again."""
    known = {name: attempt.change for name, attempt in questions.items() if attempt and attempt.change}
    due, clean = [], []
    for attempted in rows:
        if not is_changed(attempted.row, recipe):
            continue
        attempt = questions[attempted.row.id]
        assert attempt is not None
        assert attempt.heard is not None
        # What is to be changed is not heard in full: with features, its change was given up before.
        if attempt.change is None and attempt.heard.features is None:
            sound = attempt.sound()
            assert sound is not None
            due.append(attempted.row)
            said = attempt.text or attempted.row.pair.question or attempt.heard.text
            clean.append((sound, without_tags(said, recipe.clean.style_tags)))
    if not due:
        return known
    made = zip(due, await change(due, clean, engines, recipe), strict=True)
    return known | {row.id: changed for row, changed in made if changed is not None}


async def _features(
    questions: Mapping[str, Attempt | None], changes: Mapping[str, Change], engines: Engines
) -> dict[str, np.ndarray | SampleError | None]:
    """Features of each question; one that was not heard in full is heard once more for them."""
    known: dict[str, np.ndarray | SampleError | None]
    known = {name: attempt.heard.features if attempt and attempt.heard else None for name, attempt in questions.items()}
    known |= {name: changed.heard.features for name, changed in changes.items()}
    sounds = {name: attempt.sound() for name, attempt in questions.items() if attempt and known[name] is None}
    if not sounds:
        return known
    return known | dict(zip(sounds, await engines.each("hearing", "features", list(sounds.values())), strict=True))


async def _encoded(rows: Sequence[RowAttempts], engines: Engines) -> dict[str, np.ndarray]:
    """Codes of the answer of each row that did not fail; what has codes already is not encoded.

    An attempt that cannot be encoded gets that reason; where an earlier run made another one that passed, that counts.
    """
    codes: dict[str, np.ndarray] = {}
    while True:
        answers = [
            (attempted, attempt)
            for attempted in rows
            if attempted.failed_side is None
            and attempted.row.id not in codes
            and (attempt := attempted.chosen("answer"))
        ]
        codes |= {attempted.row.id: attempt.codes for attempted, attempt in answers if attempt.codes is not None}
        due = [(attempted, attempt) for attempted, attempt in answers if attempt.codes is None]
        if not due:
            return codes
        encoded = await engines.each("codec", "encode", [attempt.sound() for _, attempt in due])
        for (attempted, _), made in zip(due, encoded, strict=True):
            if isinstance(made, SampleError):
                _fail(attempted, "answer", made)
            else:
                codes[attempted.row.id] = made


def _fail(attempted: RowAttempts, side: Side, error: SampleError) -> None:
    """Give the attempt that counts the reason for which it does not."""
    attempts, chosen = attempted.attempts[side], attempted.chosen(side)
    place = next(place for place, one in enumerate(attempts) if one is chosen)
    attempts[place] = dataclasses.replace(attempts[place], reason=error.reason, detail=error.detail)


def _seconds(row: dict[str, Any]) -> float:
    return float(row["question_samples"] / QUESTION_RATE_HZ + (row["answer_samples"] or 0) / ANSWER_RATE_HZ)


def _accepted(
    attempted: RowAttempts,
    question: Attempt,
    answer: Attempt | None,
    changed: Change | None,
    features: np.ndarray | None,
    codes: np.ndarray | None,
    recipe: Recipe,
) -> dict[str, Any]:
    row = attempted.row
    made: dict[str, Any] = {
        "question_features": features,
        "answer_codes": codes,
        "attempts": attempted.attempt_count,
        "seed": row.seed(recipe.seed),
        "question_augmentation": changed and changed.description,
        "question_augmented_transcript": changed and changed.heard.text,
        "question_augmented_wer": changed and changed.wer,
    }
    sides: tuple[tuple[Side, Attempt | None], ...] = (("question", question), ("answer", answer))
    for side, attempt in sides:
        made |= {
            f"{side}_audio": audio_of(attempt, side, f"{row.id}-{side}"),
            f"{side}_samples": attempt and attempt.samples,
            f"{side}_voice": attempt and attempt.voice,
            f"{side}_transcript": attempt and attempt.heard and attempt.heard.text,
        }
        made |= {f"{side}_{name}": value for name, value in measured(attempt).items()}
        if attempt and attempt.text:
            made[side] = attempt.text
        if attempt and attempt.is_transcribed and attempt.heard:
            made |= {side: attempt.heard.text, f"{side}_written": attempt.heard.text}
    if changed is not None:
        sound = dataclasses.replace(question, waveform=changed.waveform, flac=changed.flac)
        made |= {
            "question_audio": audio_of(sound, "question", f"{row.id}-question"),
            "question_samples": sound.samples,
        }
    return _named(row) | made


def _rejected(attempted: RowAttempts) -> dict[str, Any]:
    return _named(attempted.row) | {
        "reason": attempted.reason,
        "detail": attempted.detail,
        "source": attempted.row.pair.source,
        "attempts": [stored(attempt, side, attempted.row.id) for side in SIDES for attempt in attempted.attempts[side]],
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
        "question_speaker": pair.question_speaker,
        "answer_speaker": pair.answer_speaker,
    }
