"""Phase 2, one work unit: speak -> listen -> judge -> speak again, then encode.

Re-rolling is a cycle, so a unit is a coroutine and not a chain of map operators. Its batches hold rows of this unit
alone and are made in plan order, so that they do not depend on what else runs.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anytalk.pipelines.dataset import ANSWER_RATE_HZ, FRAME_SAMPLES, QUESTION_RATE_HZ, RATES_HZ, SIDES
from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import Recipe, Side
from anytalk.pipelines.source import codes_of, read_recording
from anytalk.synth.audio import Waveform, resample
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard
from anytalk.synth.judge.measure import measure
from anytalk.synth.text import without_tags

from .attempts import ENGINE_ERROR, Attempt, Attempts, RowAttempts, may_help
from .augment import is_changed
from .engine import Sound, too_long
from .pool import Engines
from .reword import Reworder
from .rows import UnitRows, write_rows
from .utterance import Utterance, utterance_of

NO_SOUND = Sound(0.0, [], None)
"""Of what was not made; it is never measured."""


async def make_unit(
    rows: Sequence[PlannedRow],
    engines: Engines,
    recipe: Recipe,
    made: Mapping[str, Attempts] | None = None,
    *,
    speaks: bool = True,
    reworder: Reworder | None = None,
    failed: Mapping[str, str] | None = None,
    passed: Callable[[int], None] = lambda rows: None,
) -> UnitRows:
    """Speak, hear, judge and encode the rows of one unit.

    Args:
        rows: of the unit, in plan order.
        engines: the engines.
        recipe: of the dataset.
        made: attempts of an earlier run by row id, with the verdicts of this recipe; they are not made again.
        speaks: whether more attempts are made where those do not do.
        reworder: finds other words for what fails; None for a recipe without `reword`, or where nothing is spoken.
        failed: rows that are rejected as `engine_error` without being made, by id, each with the detail.
        passed: told after each round how many rows of the unit need no further attempt.

    Raises:
        EngineError: the machinery failed; none of the unit is committed and a later run does it again.
    """
    attempts = {row.id: {side: list(made[row.id][side]) if made else [] for side in SIDES} for row in rows}
    row_attempts = [RowAttempts(row, attempts[row.id], recipe.check) for row in rows]
    for name, detail in (failed or {}).items():
        attempts[name]["question"].append(Attempt(0, "", reason=ENGINE_ERROR, detail=detail))

    def told() -> None:
        passed(sum(not one.is_retryable for one in row_attempts))

    if speaks:
        await _speak("question", rows, attempts, engines, recipe, reworder, told)
        # An answer is only spoken for a question that is good: what would be thrown away is not made.
        good = [one.row for one in row_attempts if one.chosen("question") and one.row.pair.is_answered]
        await _speak("answer", good, attempts, engines, recipe, reworder, told)
    outcome = await write_rows(row_attempts, engines, recipe)
    if reworder is None:
        return outcome
    return dataclasses.replace(outcome, facts=outcome.facts | {"asked": dataclasses.asdict(reworder.usage)})


async def _speak(
    side: Side,
    rows: Sequence[PlannedRow],
    attempts: Mapping[str, Attempts],
    engines: Engines,
    recipe: Recipe,
    reworder: Reworder | None,
    told: Callable[[], None],
) -> None:
    """Attempt one side of each row until it passes or no attempt is left."""
    for number in range(recipe.check.attempts):
        due = [row for row in rows if len(attempts[row.id][side]) == number]
        due = [row for row in due if may_help(row, side, attempts[row.id][side])]
        if not due:
            continue  # Attempts of an earlier run may have come farther.
        wordings = await reworder.wordings(side, due, number, attempts) if reworder else [None] * len(due)
        to_speak: list[tuple[PlannedRow, Utterance, str | None]] = []
        for row, wording in zip(due, wordings, strict=True):
            utterance = utterance_of(row, side, number, recipe)
            if isinstance(wording, SampleError):
                # In the row's own words it has failed before, so nothing is spoken.
                failed = Attempt(number, utterance.label(), reason=wording.reason, detail=wording.detail, text="")
                attempts[row.id][side].append(failed)
            else:
                to_speak.append((row, utterance, wording))
        made = await _one_round(side, to_speak, number, engines, recipe)
        for (row, _, _), attempt in zip(to_speak, made, strict=True):
            attempts[row.id][side].append(attempt)
        told()


async def _one_round(
    side: Side, due: Sequence[tuple[PlannedRow, Utterance, str | None]], number: int, engines: Engines, recipe: Recipe
) -> list[Attempt]:
    """Speak, hear and judge one side of some rows once, each in its own words or in those that stand beside it."""
    rows, wordings = [row for row, _, _ in due], [wording for _, _, wording in due]
    tags = recipe.clean.style_tags
    utterances = [
        utterance if wording is None else dataclasses.replace(utterance, text=without_tags(wording, tags))
        for _, utterance, wording in due
    ]
    codes = await _codes(utterances)
    sounds = await _sounds(utterances, codes, engines)
    waveforms = {place: sound for place, sound in enumerate(sounds) if isinstance(sound, np.ndarray)}
    results: dict[int, tuple[Heard | SampleError, Sound | SampleError]] = {}
    if waveforms and recipe.check.listen:
        # In a thread, so that other units of this process go on meanwhile.
        waveforms_16k = await asyncio.to_thread(
            lambda: [resample(w, RATES_HZ[side], QUESTION_RATE_HZ) for w in waveforms.values()]
        )
        languages = [rows[place].pair.language for place in waveforms]
        voices = [None if utterances[place].recording else utterances[place].voice for place in waveforms]
        in_full = [side == "question" and not is_changed(rows[place], recipe) for place in waveforms]
        hearing = _hear(waveforms_16k, languages, in_full, engines)
        judging = engines.each("judging", "judge", waveforms_16k, voices)
        results = dict(zip(waveforms, zip(*await asyncio.gather(hearing, judging), strict=True), strict=True))
    attempts = []
    for place, (row, sound) in enumerate(zip(rows, sounds, strict=True)):
        wording = wordings[place]
        attempt = Attempt(number, utterances[place].label(), waveforms.get(place), codes=codes.get(place), text=wording)
        words, judgement = results.get(place, (sound, NO_SOUND))
        failed = next((found for found in (words, judgement) if isinstance(found, SampleError)), None)
        if failed is not None:
            attempt = dataclasses.replace(attempt, reason=failed.reason, detail=failed.detail)
        elif isinstance(words, Heard) and isinstance(judgement, Sound):
            text = getattr(row.pair, side) if wording is None else wording
            measures = measure(
                text=words.text if text is None else without_tags(text, tags),
                transcript=words.text,
                language=row.pair.language,
                waveform=waveforms[place],
                rate_hz=RATES_HZ[side],
                spans=judgement.spans,
                mos=judgement.mos,
                similarity=judgement.similarity,
                language_probability=words.language_probability,
            )
            attempt = dataclasses.replace(attempt, heard=words, measures=measures, is_transcribed=text is None)
            attempt = attempt.judged(getattr(recipe.check, side))
        attempts.append(attempt)
    return attempts


async def _codes(utterances: Sequence[Utterance]) -> dict[int, np.ndarray]:
    """Codes of the utterances whose answer came as codes."""
    recordings = {place: utterance.recording for place, utterance in enumerate(utterances)}
    coded = {place: one for place, one in recordings.items() if one and one.holds == "codes"}
    contents = await asyncio.to_thread(lambda: [read_recording(recording) for recording in coded.values()])
    return {place: codes_of(content) for place, content in zip(coded, contents, strict=True)}


async def _sounds(
    utterances: Sequence[Utterance], codes: Mapping[int, np.ndarray], engines: Engines
) -> list[Waveform | SampleError | None]:
    """Speak or read each utterance. What came as codes is decoded, or None where there is no codec to do it."""
    sounds: dict[int, Waveform | SampleError | None] = {}
    for place, frames in codes.items():
        length_s = len(frames) * FRAME_SAMPLES / ANSWER_RATE_HZ
        if length_s > utterances[place].max_s:
            sounds[place] = too_long(length_s, utterances[place].max_s)
    if decodable := [place for place in codes if place not in sounds]:
        decoded = await engines.each("codec", "decode", [codes[place] for place in decodable])
        sounds |= zip(decodable, decoded, strict=True)
    if others := [place for place in range(len(utterances)) if place not in codes]:
        spoken = await engines.each("voices", "speak", [utterances[place] for place in others])
        sounds |= zip(others, spoken, strict=True)
    return [sounds[place] for place in range(len(utterances))]


async def _hear(
    waveforms_16k: Sequence[Waveform], languages: Sequence[str], in_full: Sequence[bool], engines: Engines
) -> list[Heard | SampleError]:
    """Questions need features, so they pass the encoder in full; answers, and what will be changed, need words."""
    sounds = list(zip(waveforms_16k, languages, in_full, strict=True))
    whole = [(waveform, language) for waveform, language, full in sounds if full]
    brief = [(waveform, language) for waveform, language, full in sounds if not full]
    listened = iter(await _called("listen", whole, engines))
    transcribed = iter(await _called("transcribe", brief, engines))
    return [next(listened if full else transcribed) for full in in_full]


async def _called(method: str, sounds: Sequence[tuple[Waveform, str]], engines: Engines) -> list[Any]:
    if not sounds:
        return []
    return await engines.each("hearing", method, [sound for sound, _ in sounds], [tag for _, tag in sounds])
