"""Phase 2, one work unit: speak -> listen -> judge -> speak again, then encode.

Re-rolling is a cycle, so a unit is a coroutine and not a chain of map operators. Its batches hold rows of this unit
alone and are made in plan order, so that they do not depend on what else runs.
"""

import asyncio
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anytalk.synth.audio import Waveform, flac_bytes, resample
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard
from anytalk.synth.judge.measure import Measures, measure
from anytalk.synth.judge.policy import verdict
from anytalk.synth.seed import derive_seed

from .casting import answer_voice, question_voices
from .plan import PlannedRow
from .pool import Studio
from .recipe import Recipe, VoiceChoice
from .recipe_source import Side
from .schema import ANSWER_RATE_HZ, FRAME_SAMPLES, MEASURES, QUESTION_RATE_HZ
from .source import Recording, codes_of, read_recording
from .stage import Job, too_long

RATES_HZ: dict[Side, int] = {"question": QUESTION_RATE_HZ, "answer": ANSWER_RATE_HZ}


@dataclasses.dataclass(frozen=True)
class Take:
    """One attempt at one side of a row. `reason` is None when it passed."""

    number: int
    voice: str
    waveform: Waveform | None = None
    heard: Heard | None = None
    measures: Measures | None = None
    reason: str | None = None
    detail: str = ""
    codes: np.ndarray | None = None
    """Of an answer that came as codes."""
    is_transcribed: bool = False
    """Whether the text is what was heard, because the source has none."""

    @property
    def samples(self) -> int | None:
        """Length at the side's rate."""
        if self.waveform is not None:
            return len(self.waveform)
        return None if self.codes is None else len(self.codes) * FRAME_SAMPLES


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
    answered = [row for row in good if row.pair.is_answered]
    answers = dict(zip((row.id for row in answered), await _takes("answer", answered, studio, recipe), strict=True))
    complete = [row for row in answered if answers[row.id][-1].reason is None]
    codes = {row.id: answers[row.id][-1].codes for row in complete}
    uncoded = [row for row in complete if codes[row.id] is None]
    waveforms = [answers[row.id][-1].waveform for row in uncoded]
    encoded = await studio.call("codec", "encode", waveforms) if waveforms else []
    codes |= zip((row.id for row in uncoded), encoded, strict=True)

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
    codes = await _codes(jobs)
    spoken = await _sounds(jobs, codes, studio)
    waveforms = {place: w for place, w in enumerate(spoken) if isinstance(w, np.ndarray)}
    waveforms_16k = [resample(w, RATES_HZ[side], QUESTION_RATE_HZ) for w in waveforms.values()]
    heard: list[Heard | SampleError] = []
    judged: list[tuple[float, list[tuple[float, float]]]] = []
    if waveforms_16k:
        languages = [rows[place].pair.language for place in waveforms]
        hearing, judging = _hear(side, waveforms_16k, languages, studio), studio.call("judging", "judge", waveforms_16k)
        heard, judged = await asyncio.gather(hearing, judging)
    results = dict(zip(waveforms, zip(heard, judged, strict=True), strict=True))
    takes = []
    for place, (row, sound) in enumerate(zip(rows, spoken, strict=True)):
        take = Take(attempt, jobs[place].label(), waveforms.get(place), codes=codes.get(place))
        words, (mos, spans) = results.get(place, (sound, (0.0, [])))
        if isinstance(words, SampleError):
            take = dataclasses.replace(take, reason=words.reason, detail=words.detail)
        elif isinstance(words, Heard):
            text = getattr(row.pair, side)
            measures = measure(
                text=words.text if text is None else text,
                transcript=words.text,
                language=row.pair.language,
                waveform=waveforms[place],
                rate_hz=RATES_HZ[side],
                spans=spans,
                mos=mos,
            )
            reason = verdict(measures, getattr(recipe.check, side))
            if text is None and not any(map(str.isalnum, words.text)):
                reason = "empty_transcript"
            detail = _detail(reason, measures, words)
            take = dataclasses.replace(
                take, heard=words, measures=measures, reason=reason, detail=detail, is_transcribed=text is None
            )
        takes.append(take)
    return takes


async def _codes(jobs: Sequence[Job]) -> dict[int, np.ndarray]:
    """Codes of the jobs whose answer came as codes."""
    coded = {place: job.recording for place, job in enumerate(jobs) if job.recording and job.recording.holds == "codes"}
    contents = await asyncio.to_thread(lambda: [read_recording(recording) for recording in coded.values()])
    return {place: codes_of(content) for place, content in zip(coded, contents, strict=True)}


async def _sounds(
    jobs: Sequence[Job], codes: Mapping[int, np.ndarray], studio: Studio
) -> list[Waveform | SampleError | None]:
    """Speak or read each job. What came as codes is decoded, or None where there is no codec to do it."""
    sounds: dict[int, Waveform | SampleError | None] = {}
    for place, frames in codes.items():
        length_s = len(frames) * FRAME_SAMPLES / ANSWER_RATE_HZ
        if length_s > jobs[place].max_s:
            sounds[place] = too_long(length_s, jobs[place].max_s)
    if decodable := [place for place in codes if place not in sounds]:
        decoded = await studio.call("codec", "decode", [codes[place] for place in decodable])
        sounds |= zip(decodable, decoded or [None] * len(decodable), strict=True)
    if spoken := [place for place in range(len(jobs)) if place not in codes]:
        sounds |= zip(spoken, await studio.call("voices", "speak", [jobs[place] for place in spoken]), strict=True)
    return [sounds[place] for place in range(len(jobs))]


async def _hear(
    side: Side, waveforms_16k: list[Waveform], languages: list[str], studio: Studio
) -> list[Heard | SampleError]:
    """Questions need features, so they pass the encoder in full; answers only need their words."""
    if side == "question":
        heard: list[Heard | SampleError] = await studio.call("hearing", "listen", waveforms_16k, languages)
        return heard
    return [Heard(text, None) for text in await studio.call("hearing", "transcribe", waveforms_16k, languages)]


def _detail(reason: str | None, measures: Measures, heard: Heard) -> str:
    if reason is None:
        return ""
    return f"heard {heard.text!r}" if reason == "high_wer" else str(dataclasses.asdict(measures))


def job(row: PlannedRow, side: Side, attempt: int, recipe: Recipe) -> Job:
    """What an attempt at one side of a row is: the text or recording, and a voice drawn from the row's seed."""
    rng = np.random.default_rng(derive_seed(row.seed(recipe.seed), side, attempt))
    recording: Recording | None = getattr(row.pair, f"{side}_recording")
    choice = answer_voice(row.pair.language, recipe)
    # No voice need know the language of a question that was recorded.
    if side == "question" and recording is None:
        order = voice_order(row, recipe)
        # Variants of a pair start at different voices; an attempt that fails moves on to the next one.
        choice = order[(row.variant + attempt // recipe.check.attempts_per_voice) % len(order)]
    limits = {"question": recipe.audio.max_question_s, "answer": recipe.audio.max_answer_s}
    speed, pitch = (round(float(rng.uniform(*bounds)), 3) for bounds in (choice.speed, choice.pitch))
    return Job(
        text=getattr(row.pair, side) or "",
        voice=choice.voice,
        seed=int(rng.integers(2**32)),
        speed=speed,
        pitch=pitch,
        rate_hz=RATES_HZ[side],
        max_s=limits[side],
        recording=recording,
    )


def voice_order(row: PlannedRow, recipe: Recipe) -> list[VoiceChoice]:
    """The question voices of a row's language and split in a random order that all variants of a pair share.

    Heavier ones tend to come first. The next one is another speaker where there is one: what one mouth cannot say well,
    it seldom says better at another pitch.
    """
    choices = question_voices(row.pair.language, row.split, recipe)
    rng = np.random.default_rng(derive_seed(recipe.seed, row.first_id, "voices"))
    weights = np.array([choice.weight for choice in choices])
    # Exponential clocks: ordering by them draws without replacement, by weight.
    drawn = [choices[index] for index in np.argsort(rng.exponential(size=len(weights)) / weights, kind="stable")]
    speakers: dict[str, list[VoiceChoice]] = {}
    for choice in drawn:
        speakers.setdefault(choice.voice, []).append(choice)
    # One of each speaker in turn.
    rounds = itertools.zip_longest(*speakers.values())
    return [choice for turn in rounds for choice in turn if choice is not None]


def _measured(take: Take | None) -> dict[str, float | None]:
    if take is None or take.measures is None:
        return dict.fromkeys(MEASURES)
    # A text that was heard has no errors against itself, and that says nothing.
    unknown = {"wer", "cer"} if take.is_transcribed else set()
    return {name: None if name in unknown else getattr(take.measures, name) for name in MEASURES}


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
            f"{side}_samples": take and take.samples,
            f"{side}_voice": take and take.voice,
            f"{side}_transcript": take and take.heard and take.heard.text,
        }
        made |= {f"{side}_{name}": value for name, value in _measured(take).items()}
        if take and take.is_transcribed and take.heard:
            made |= {side: take.heard.text, f"{side}_written": take.heard.text}
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
        "question_written": pair.question_written or pair.question,
        "answer_written": pair.answer_written or pair.answer,
        "language": pair.language,
    }
