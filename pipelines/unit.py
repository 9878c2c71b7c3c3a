"""Phase 2, one work unit: speak -> listen -> judge -> speak again, then encode.

Re-rolling is a cycle, so a unit is a coroutine and not a chain of map operators. Its batches hold rows of this unit
alone and are made in plan order, so that they do not depend on what else runs.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from anytalk.synth.audio import Waveform, flac_bytes, resample
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard
from anytalk.synth.judge.measure import Measures, measure
from anytalk.synth.judge.policy import verdict
from anytalk.synth.seed import derive_seed

from .plan import PlannedRow
from .pool import Studio
from .recipe import Recipe, VoiceChoice
from .schema import ANSWER_RATE_HZ, MEASURES, QUESTION_RATE_HZ
from .source import Recording
from .stage import Job

Side = Literal["question", "answer"]
RATES_HZ: dict[Side, int] = {"question": QUESTION_RATE_HZ, "answer": ANSWER_RATE_HZ}


@dataclasses.dataclass(frozen=True)
class Take:
    """One attempt at one side of a row. `reason` is None when it passed."""

    number: int
    voice: str
    waveform: Waveform | None
    heard: Heard | None
    measures: Measures | None
    reason: str | None
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class UnitRows:
    """What became of a unit's rows."""

    accepted: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    rerolled: int
    """Rows that were accepted after more than one attempt at a side."""
    speech_s: float
    """Seconds of accepted speech, both sides."""


async def make_unit(rows: Sequence[PlannedRow], studio: Studio, recipe: Recipe) -> UnitRows:
    """Speak, hear, judge and encode the rows of one unit.

    Raises:
        EngineError: the machinery failed; none of the unit is committed and a later run does it again.
    """
    questions = await _takes("question", rows, studio, recipe)
    # An answer is only spoken for a question that is good: what would be thrown away is not made.
    good = [row for row, takes in zip(rows, questions, strict=True) if takes[-1].reason is None]
    answered = [row for row in good if row.pair.answer is not None]
    answers = dict(zip((row.id for row in answered), await _takes("answer", answered, studio, recipe), strict=True))
    complete = [row for row in answered if answers[row.id][-1].reason is None]
    waveforms = [answers[row.id][-1].waveform for row in complete]
    encoded = await studio.call("codec", "encode", waveforms) if waveforms else []
    codes = dict(zip((row.id for row in complete), encoded, strict=True))

    accepted, rejected = [], []
    for row, question in zip(rows, questions, strict=True):
        answer = answers.get(row.id, [])
        failed = next((takes for takes in (question, answer) if takes and takes[-1].reason is not None), None)
        if failed is None:
            accepted.append(_accepted(row, question[-1], answer[-1] if answer else None, codes.get(row.id), recipe))
        else:
            rejected.append(_rejected(row, failed, {"question": question, "answer": answer}))
    return UnitRows(
        accepted,
        rejected,
        rerolled=sum(row["attempts"] > 1 for row in accepted),
        speech_s=sum(_seconds(row) for row in accepted),
    )


def _seconds(row: dict[str, Any]) -> float:
    return float(row["question_samples"] / QUESTION_RATE_HZ + (row["answer_samples"] or 0) / ANSWER_RATE_HZ)


async def _takes(side: Side, rows: Sequence[PlannedRow], studio: Studio, recipe: Recipe) -> list[list[Take]]:
    """All attempts at one side of each row; the last one is the one that counts."""
    takes: list[list[Take]] = [[] for _ in rows]
    for attempt in range(recipe.check.attempts):
        places = [place for place, row in enumerate(rows) if _is_open(row, side, takes[place])]
        if not places:
            break
        jobs = [job(rows[place], side, attempt, recipe) for place in places]
        for place, take in zip(
            places,
            await _one_round(side, [rows[p] for p in places], jobs, attempt, studio, recipe),
            strict=True,
        ):
            takes[place].append(take)
    return takes


FINAL = {"unspeakable_text", "too_long", "undecodable_audio", "empty_audio", "nan_audio"}
"""Reasons that another attempt cannot mend."""


def _is_open(row: PlannedRow, side: Side, takes: list[Take]) -> bool:
    """Whether another attempt may help: a recording stays what it is."""
    if not takes:
        return True
    recorded = getattr(row.pair, f"{side}_recording") is not None
    return takes[-1].reason is not None and takes[-1].reason not in FINAL and not recorded


async def _one_round(
    side: Side, rows: Sequence[PlannedRow], jobs: Sequence[Job], attempt: int, studio: Studio, recipe: Recipe
) -> list[Take]:
    """Speak, hear and judge one side of some rows once."""
    spoken: list[Waveform | SampleError] = await studio.call("voices", "speak", jobs)
    waveforms = {place: w for place, w in enumerate(spoken) if not isinstance(w, SampleError)}
    waveforms_16k = [resample(w, RATES_HZ[side], QUESTION_RATE_HZ) for w in waveforms.values()]
    heard: list[Heard | SampleError] = []
    judged: list[tuple[float, list[tuple[float, float]]]] = []
    if waveforms_16k:
        hearing, judging = _hear(side, waveforms_16k, studio), studio.call("judging", "judge", waveforms_16k)
        heard, judged = await asyncio.gather(hearing, judging)
    results = dict(zip(waveforms, zip(heard, judged, strict=True), strict=True))
    takes = []
    for place, (row, waveform) in enumerate(zip(rows, spoken, strict=True)):
        words, (mos, spans) = (waveform, (0.0, [])) if isinstance(waveform, SampleError) else results[place]
        if isinstance(words, SampleError):
            kept = waveforms.get(place)
            takes.append(Take(attempt, jobs[place].label(), kept, None, None, words.reason, words.detail))
            continue
        measures = measure(
            text=getattr(row.pair, side),
            transcript=words.text,
            language=row.pair.language,
            waveform=waveforms[place],
            rate_hz=RATES_HZ[side],
            spans=spans,
            mos=mos,
        )
        reason = verdict(measures, getattr(recipe.check, side))
        detail = _detail(reason, measures, words)
        takes.append(Take(attempt, jobs[place].label(), waveforms[place], words, measures, reason, detail))
    return takes


async def _hear(side: Side, waveforms_16k: list[Waveform], studio: Studio) -> list[Heard | SampleError]:
    """Questions need features, so they pass the encoder in full; answers only need their words."""
    if side == "question":
        heard: list[Heard | SampleError] = await studio.call("hearing", "listen", waveforms_16k)
        return heard
    return [Heard(text, None) for text in await studio.call("hearing", "transcribe", waveforms_16k)]


def _detail(reason: str | None, measures: Measures, heard: Heard) -> str:
    if reason is None:
        return ""
    return f"heard {heard.text!r}" if reason == "high_wer" else str(dataclasses.asdict(measures))


def job(row: PlannedRow, side: Side, attempt: int, recipe: Recipe) -> Job:
    """What an attempt at one side of a row is: the text or recording, and a voice drawn from the row's seed."""
    rng = np.random.default_rng(derive_seed(row.seed(recipe.seed), side, attempt))
    choice = recipe.voices.answer
    if side == "question":
        order = voice_order(row, recipe)
        # Variants of a pair start at different voices; an attempt that fails moves on to the next one.
        choice = order[(row.variant + attempt // recipe.check.attempts_per_voice) % len(order)]
    recording: Recording | None = getattr(row.pair, f"{side}_recording")
    limits = {"question": recipe.audio.max_question_s, "answer": recipe.audio.max_answer_s}
    speed, pitch = (round(float(rng.uniform(*bounds)), 3) for bounds in (choice.speed, choice.pitch))
    return Job(
        text=getattr(row.pair, side),
        voice=choice.voice,
        seed=int(rng.integers(2**32)),
        speed=speed,
        pitch=pitch,
        rate_hz=RATES_HZ[side],
        max_s=limits[side],
        recording=recording,
    )


def voice_order(row: PlannedRow, recipe: Recipe) -> list[VoiceChoice]:
    """The question voices in a random order that all variants of a pair share; heavier ones tend to come first."""
    rng = np.random.default_rng(derive_seed(recipe.seed, row.first_id, "voices"))
    weights = np.array([choice.weight for choice in recipe.voices.question])
    # Exponential clocks: ordering by them draws without replacement, by weight.
    order = np.argsort(rng.exponential(size=len(weights)) / weights, kind="stable")
    return [recipe.voices.question[index] for index in order]


def _measured(take: Take | None) -> dict[str, float | None]:
    if take is None or take.measures is None:
        return dict.fromkeys(MEASURES)
    return {name: getattr(take.measures, name) for name in MEASURES}


def _audio(take: Take | None, side: Side, name: str) -> dict[str, Any] | None:
    if take is None or take.waveform is None:
        return None
    return {"bytes": flac_bytes(take.waveform, RATES_HZ[side]), "path": f"{name}.flac"}


def _accepted(
    row: PlannedRow, question: Take, answer: Take | None, codes: np.ndarray | None, recipe: Recipe
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "question_features": question.heard.features if question.heard else None,
        "answer_codes": codes,
        "attempts": 1 + max(question.number, answer.number if answer else 0),
        "seed": row.seed(recipe.seed),
    }
    sides: tuple[tuple[Side, Take | None], ...] = (("question", question), ("answer", answer))
    for side, take in sides:
        made |= {
            f"{side}_audio": _audio(take, side, f"{row.id}-{side}"),
            f"{side}_samples": None if take is None or take.waveform is None else len(take.waveform),
            f"{side}_voice": take and take.voice,
            f"{side}_transcript": take and take.heard and take.heard.text,
        }
        made |= {f"{side}_{name}": value for name, value in _measured(take).items()}
    return _named(row) | made


def _rejected(row: PlannedRow, failed: list[Take], sides: dict[Side, list[Take]]) -> dict[str, Any]:
    attempts = [
        {
            "side": side,
            "attempt": take.number,
            "reason": take.reason,
            "voice": take.voice,
            "transcript": take.heard.text if take.heard else None,
            **_measured(take),
            "audio": _audio(take, side, f"{row.id}-{side}-{take.number}"),
        }
        for side, takes in sides.items()
        for take in takes
    ]
    last = failed[-1]
    return _named(row) | {
        "reason": last.reason,
        "detail": last.detail,
        "source": row.pair.source,
        "attempts": attempts,
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
        "question_written": pair.question,
        "answer_written": pair.answer,
        "language": pair.language,
    }
