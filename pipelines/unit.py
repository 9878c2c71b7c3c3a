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

from anytalk.synth.audio import Waveform, resample
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard
from anytalk.synth.judge.measure import measure
from anytalk.synth.seed import derive_seed

from .attempt import RATES_HZ, SIDES, Ended, Take, Takes, audio_of, may_help, measured, stored
from .augmented import Change, change, is_changed
from .casting import answer_voice, question_voices
from .commit import count
from .gate import tally
from .plan import PlannedRow
from .pool import Studio
from .recipe import Asker, Recipe
from .recipe_source import Side
from .reword import Reworder
from .schema import ANSWER_RATE_HZ, FRAME_SAMPLES, QUESTION_RATE_HZ
from .source import Recording, codes_of, read_recording
from .stage import Job, Sound, too_long

NO_SOUND = Sound(0.0, [], None)
"""Of what was not made; it is never measured."""


@dataclasses.dataclass(frozen=True)
class UnitRows:
    """What became of a unit's rows."""

    accepted: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    """All other attempts at accepted rows."""
    facts: dict[str, Any]
    """Counts, for the unit's sidecar."""


async def make_unit(
    rows: Sequence[PlannedRow],
    studio: Studio,
    recipe: Recipe,
    made: Mapping[str, Takes] | None = None,
    *,
    speaks: bool = True,
    reworder: Reworder | None = None,
) -> UnitRows:
    """Speak, hear, judge and encode the rows of one unit.

    Args:
        rows: of the unit, in plan order.
        studio: the engines.
        recipe: of the dataset.
        made: attempts of an earlier run by row id, with the verdicts of this recipe; they are not made again.
        speaks: whether more attempts are made where those do not do.
        reworder: finds other words for what fails; None for a recipe without `reword`, or where nothing is spoken.

    Raises:
        EngineError: the machinery failed; none of the unit is committed and a later run does it again.
    """
    takes = {row.id: {side: list(made[row.id][side]) if made else [] for side in SIDES} for row in rows}
    ended = [Ended(row, takes[row.id], recipe.check) for row in rows]
    if speaks:
        await _speak("question", rows, takes, studio, recipe, reworder)
        # An answer is only spoken for a question that is good: what would be thrown away is not made.
        good = [end.row for end in ended if end.chosen("question") and end.row.pair.is_answered]
        await _speak("answer", good, takes, studio, recipe, reworder)
    outcome = await _written(ended, studio, recipe)
    if reworder is None:
        return outcome
    return dataclasses.replace(outcome, facts=outcome.facts | {"asked": dataclasses.asdict(reworder.usage)})


async def _speak(
    side: Side,
    rows: Sequence[PlannedRow],
    takes: Mapping[str, Takes],
    studio: Studio,
    recipe: Recipe,
    reworder: Reworder | None,
) -> None:
    """Attempt one side of each row until it passes or the budget is spent."""
    for attempt in range(recipe.check.attempts):
        due = [row for row in rows if len(takes[row.id][side]) == attempt]
        due = [row for row in due if may_help(row, side, takes[row.id][side])]
        if not due:
            continue  # Attempts of an earlier run may have come farther.
        wordings = await reworder.wordings(side, due, attempt, takes) if reworder else [None] * len(due)
        spoken = []
        for row, wording in zip(due, wordings, strict=True):
            one = job(row, side, attempt, recipe)
            if isinstance(wording, SampleError):
                # In the row's own words it has failed before, so nothing is spoken.
                failed = Take(attempt, one.label(), reason=wording.reason, detail=wording.detail, text="")
                takes[row.id][side].append(failed)
            else:
                spoken.append((row, one, wording))
        for (row, _, _), take in zip(spoken, await _one_round(side, spoken, attempt, studio, recipe), strict=True):
            takes[row.id][side].append(take)


async def _written(ended: Sequence[Ended], studio: Studio, recipe: Recipe) -> UnitRows:
    """Encode what was accepted, and write all rows out."""
    complete = [end for end in ended if end.failed_side is None]
    questions = {end.row.id: end.chosen("question") for end in complete}
    answers = {end.row.id: end.chosen("answer") for end in complete}
    changes = await _changes(complete, questions, studio, recipe)
    features = await _features(questions, changes, studio) if recipe.features.store else {}
    codes = await _encoded(answers, studio)
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


def facts_of(ended: Sequence[Ended]) -> dict[str, Any]:
    """Count what the attempts at a unit's rows came to, and list the rows that another attempt may mend."""
    reasons = [end.reason for end in ended if end.reason is not None]
    return {
        "accepted": len(ended) - len(reasons),
        "rejected": len(reasons),
        "rerolled": sum(end.reason is None and end.attempts > 1 for end in ended),
        "reasons": count(reasons),
        "gates": tally(ended),
        "open": [end.need() for end in ended if end.is_open],
    }


async def _changes(
    ended: Sequence[Ended], questions: Mapping[str, Take | None], studio: Studio, recipe: Recipe
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
    made = zip(due, await change(due, clean, studio, recipe), strict=True)
    return known | {row.id: changed for row, changed in made if changed is not None}


async def _features(
    questions: Mapping[str, Take | None], changes: Mapping[str, Change], studio: Studio
) -> dict[str, np.ndarray | None]:
    """Features of each question; one that was not heard in full is heard once more for them."""
    known = {name: take.heard.features if take and take.heard else None for name, take in questions.items()}
    known |= {name: changed.heard.features for name, changed in changes.items()}
    sounds = {name: take.sound() for name, take in questions.items() if take and known[name] is None}
    if not sounds:
        return known
    return known | dict(zip(sounds, await studio.call("hearing", "features", list(sounds.values())), strict=True))


async def _encoded(answers: Mapping[str, Take | None], studio: Studio) -> dict[str, np.ndarray]:
    """Codes of each answer that there is; what has codes already is not encoded."""
    codes = {name: take.codes for name, take in answers.items() if take and take.codes is not None}
    sounds = {name: take.sound() for name, take in answers.items() if take and name not in codes}
    encoded = await studio.call("codec", "encode", list(sounds.values())) if sounds else []
    return codes | dict(zip(sounds, encoded, strict=True))


def _seconds(row: dict[str, Any]) -> float:
    return float(row["question_samples"] / QUESTION_RATE_HZ + (row["answer_samples"] or 0) / ANSWER_RATE_HZ)


async def _one_round(
    side: Side, due: Sequence[tuple[PlannedRow, Job, str | None]], attempt: int, studio: Studio, recipe: Recipe
) -> list[Take]:
    """Speak, hear and judge one side of some rows once, each in its own words or in those that stand beside it."""
    rows, wordings = [row for row, _, _ in due], [wording for _, _, wording in due]
    jobs = [one if wording is None else dataclasses.replace(one, text=wording) for _, one, wording in due]
    codes = await _codes(jobs)
    spoken = await _sounds(jobs, codes, studio)
    waveforms = {place: w for place, w in enumerate(spoken) if isinstance(w, np.ndarray)}
    waveforms_16k = [resample(w, RATES_HZ[side], QUESTION_RATE_HZ) for w in waveforms.values()]
    heard: list[Heard | SampleError] = []
    judged: list[Sound] = []
    if waveforms_16k:
        languages = [rows[place].pair.language for place in waveforms]
        voices = [None if jobs[place].recording else jobs[place].voice for place in waveforms]
        in_full = [side == "question" and not is_changed(rows[place], recipe) for place in waveforms]
        hearing = _hear(waveforms_16k, languages, in_full, studio)
        judging = studio.call("judging", "judge", waveforms_16k, voices)
        heard, judged = await asyncio.gather(hearing, judging)
    results = dict(zip(waveforms, zip(heard, judged, strict=True), strict=True))
    takes = []
    for place, (row, sound) in enumerate(zip(rows, spoken, strict=True)):
        wording = wordings[place]
        take = Take(attempt, jobs[place].label(), waveforms.get(place), codes=codes.get(place), text=wording)
        words, sounds = results.get(place, (sound, NO_SOUND))
        if isinstance(words, SampleError):
            take = dataclasses.replace(take, reason=words.reason, detail=words.detail)
        elif isinstance(words, Heard):
            text = getattr(row.pair, side) if wording is None else wording
            measures = measure(
                text=words.text if text is None else text,
                transcript=words.text,
                language=row.pair.language,
                waveform=waveforms[place],
                rate_hz=RATES_HZ[side],
                spans=sounds.spans,
                mos=sounds.mos,
                similarity=sounds.similarity,
                language_probability=words.language_probability,
            )
            take = dataclasses.replace(take, heard=words, measures=measures, is_transcribed=text is None)
            take = take.judged(getattr(recipe.check, side))
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
    waveforms_16k: Sequence[Waveform], languages: Sequence[str], in_full: Sequence[bool], studio: Studio
) -> list[Heard | SampleError]:
    """Questions need features, so they pass the encoder in full; answers, and what will be changed, need words."""
    sounds = list(zip(waveforms_16k, languages, in_full, strict=True))
    whole = [(waveform, language) for waveform, language, full in sounds if full]
    brief = [(waveform, language) for waveform, language, full in sounds if not full]
    listened = iter(await _called("listen", whole, studio))
    transcribed = iter(await _called("transcribe", brief, studio))
    return [next(listened if full else transcribed) for full in in_full]


async def _called(method: str, sounds: Sequence[tuple[Waveform, str]], studio: Studio) -> list[Any]:
    if not sounds:
        return []
    made: list[Any] = await studio.call("hearing", method, [sound for sound, _ in sounds], [tag for _, tag in sounds])
    return made


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


def voice_order(row: PlannedRow, recipe: Recipe) -> list[Asker]:
    """The question voices of a row's language and split in a random order that all variants of a pair share.

    Heavier ones tend to come first. The next one is another speaker where there is one: what one mouth cannot say well,
    it seldom says better at another pitch.
    """
    choices = question_voices(row.pair.language, row.split, recipe)
    rng = np.random.default_rng(derive_seed(recipe.seed, row.first_id, "voices"))
    weights = np.array([choice.weight for choice in choices])
    # Exponential clocks: ordering by them draws without replacement, by weight.
    drawn = [choices[index] for index in np.argsort(rng.exponential(size=len(weights)) / weights, kind="stable")]
    speakers: dict[str, list[Asker]] = {}
    for choice in drawn:
        speakers.setdefault(choice.voice, []).append(choice)
    # One of each speaker in turn.
    rounds = itertools.zip_longest(*speakers.values())
    return [choice for turn in rounds for choice in turn if choice is not None]


def _accepted(
    end: Ended,
    question: Take,
    answer: Take | None,
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
    sides: tuple[tuple[Side, Take | None], ...] = (("question", question), ("answer", answer))
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


def _rejected(end: Ended) -> dict[str, Any]:
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
