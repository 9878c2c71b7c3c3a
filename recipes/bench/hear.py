"""What does a short context for features cost and save? The same questions heard in both, turn by turn, in one run."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from anytalk.pipelines.dataset.schema import QUESTION_RATE_HZ
from anytalk.pipelines.dataset.store import Store
from anytalk.pipelines.plan.make import load_or_make
from anytalk.pipelines.plan.plan import PlannedRow
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe.dataset import Recipe, load_recipe
from anytalk.pipelines.speech.engine import VoiceEngine
from anytalk.pipelines.speech.utterance import utterance_of
from anytalk.recipes.machine import commit_id, machine
from anytalk.recipes.shipped import find
from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard, load_whisper
from anytalk.synth.hearing.contract import CONTEXT_SAMPLES
from anytalk.synth.hearing.window import window_samples
from anytalk.synth.judge.measure import word_error_rate

TURN = 10
"""Questions heard in one way before it is the other's turn, so that both meet the same load of the machine."""


def bench_hear(recipe_name: str, questions: int, whisper: str, progress: Reporter) -> dict[str, Any]:
    """Listen to the questions of a recipe in the full and in the short context.

    Args:
        recipe_name: a recipe whose source is text.
        questions: how many, spoken as the recipe says.
        whisper: what `load_whisper` takes.
        progress: who is told how far it is.

    Returns:
        Figures under the names that all benchmarks share; `value` and `naive` are seconds of speech a second of
        processor time of one core, in the short and in the full context.
    """
    recipe = load_recipe(find(recipe_name, "build"))
    rows, sounds = _spoken(recipe, questions)
    engines = {context: load_whisper(whisper, context=context) for context in ("full", "short")}
    for engine in engines.values():
        engine.listen([np.zeros(QUESTION_RATE_HZ, np.float32)])
    heard: dict[str, list[Heard]] = {context: [] for context in engines}
    seconds: dict[str, list[float]] = {context: [] for context in engines}
    progress.start("questions", len(sounds))
    try:
        for first in range(0, len(sounds), TURN):
            some = sounds[first : first + TURN]
            for context, engine in engines.items():
                started = time.process_time()
                heard[context] += [each for each in engine.listen(some) if isinstance(each, Heard)]
                seconds[context].append(time.process_time() - started)
            progress.advance(len(some))
    finally:
        progress.stop()
    speech_s = sum(map(len, sounds)) / QUESTION_RATE_HZ
    rates = {context: speech_s / sum(spent) for context, spent in seconds.items()}
    ratios = [full / short for full, short in zip(seconds["full"], seconds["short"], strict=True)]
    bound = rates["full"] * len(sounds) * CONTEXT_SAMPLES / sum(window_samples(len(sound)) for sound in sounds)
    return {
        "name": "hear",
        "value": round(rates["short"], 2),
        "unit": "seconds of speech a second of processor time",
        "naive": round(rates["full"], 2),
        "ratio": round(rates["short"] / rates["full"], 2),
        "bound": round(bound, 2),
        "share_of_bound": round(rates["short"] / bound, 3),
        "wer": {context: _wer(rows, heard[context]) for context in engines},
        "cosine": round(_cosine(heard["full"], heard["short"]), 4),
        "questions": len(sounds),
        "speech_s": round(speech_s, 1),
        "whisper": whisper,
        "machine": machine(),
        "commit": commit_id(),
        "spread": {"ratio": [round(min(ratios), 2), round(max(ratios), 2)]},
    }


def _spoken(recipe: Recipe, count: int) -> tuple[list[PlannedRow], list[Waveform]]:
    """Questions as a build would hear them the first time; those that no voice can say are left out."""
    with tempfile.TemporaryDirectory() as folder:
        plan = load_or_make(recipe, Store(Path(folder) / "planned"))
    rows = [row for unit in plan.units for row in unit][:count]
    jobs = [utterance_of(row, "question", 0, recipe) for row in rows]
    spoken = VoiceEngine(recipe.voices.names(), recipe.audio, recipe.voices).speak(jobs)
    said = [(row, sound) for row, sound in zip(rows, spoken, strict=True) if not isinstance(sound, SampleError)]
    return [row for row, _ in said], [sound for _, sound in said]


def _wer(rows: list[PlannedRow], heard: list[Heard]) -> float:
    pairs = [(row.pair, each.text) for row, each in zip(rows, heard, strict=True)]
    return round(fmean(word_error_rate(pair.question or "", text, pair.language) for pair, text in pairs), 4)


def _cosine(full: list[Heard], short: list[Heard]) -> float:
    """Mean cosine of the angle between the two states of each frame."""
    cosines = []
    for one, other in zip(full, short, strict=True):
        assert one.features is not None
        assert other.features is not None
        a_TD, b_TD = one.features.astype(np.float64), other.features.astype(np.float64)
        lengths_T = np.linalg.norm(a_TD, axis=1) * np.linalg.norm(b_TD, axis=1)
        cosines += ((a_TD * b_TD).sum(axis=1) / lengths_T).tolist()
    return fmean(cosines)


def text(figures: Mapping[str, Any]) -> str:
    """The figures as lines for a person."""
    low, high = figures["spread"]["ratio"]
    return "\n".join(
        [
            f"hear: short {figures['value']}, full {figures['naive']} {figures['unit']}, {figures['ratio']} times as "
            f"fast ({low} to {high})",
            f"  {figures['share_of_bound']:.0%} of the bound {figures['bound']}: full, by how much less is shown",
            f"  WER short {figures['wer']['short']:.2%}, full {figures['wer']['full']:.2%}; cosine of the features "
            f"{figures['cosine']}",
            f"  {figures['questions']} questions, {figures['speech_s']} s of speech, {figures['whisper']}",
            f"  {figures['machine']}; commit {figures['commit']}",
        ]
    )
