"""What does a short context for features cost and save? The same questions heard in both, turn by turn, in one run."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import numpy as np
import typer

from anytalk.pipelines.dataset import QUESTION_RATE_HZ, Store
from anytalk.pipelines.plan import PlannedRow, load_or_make
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Recipe, load_recipe
from anytalk.pipelines.speech import VoiceEngine, utterance_of
from anytalk.recipes.device import Device, WhisperDtype
from anytalk.recipes.shipped import find
from anytalk.synth.audio import Waveform
from anytalk.synth.device import resolve
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard, Whisper, load_whisper
from anytalk.synth.hearing.contract import CONTEXT_SAMPLES
from anytalk.synth.hearing.window import window_samples
from anytalk.synth.judge.error_rate import word_error_rate

from .figures import Clock, Figures, compared, describe, figures, in_turns

EPILOG = (
    "Examples:  anytalk bench hear --questions 32  |  anytalk bench hear --whisper small --device cuda --dtype float16"
)

TURN = 10
"""Questions heard in one way before it is the other's turn, so that both meet the same load of the machine."""


def bench(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Whose source is text: a name, or a YAML file.")] = (
        "quickstart"
    ),
    questions: Annotated[int, typer.Option(min=1, help="How many of the recipe's questions.")] = 60,
    whisper: Annotated[str, typer.Option(help="A Whisper, as features.model names it.")] = "tiny.en",
    device: Device = "auto",
    dtype: WhisperDtype = "float32",
    *,
    progress: Reporter,
) -> Figures:
    """Listen to the questions of a recipe in the short context, which is ours, and in the full one."""
    # On a GPU the processor waits, so the time that passes counts.
    clock = time.process_time if resolve(device) == "cpu" else time.perf_counter
    rows, sounds = _spoken(load_recipe(find(recipe, "build")), questions)
    turns = [sounds[first : first + TURN] for first in range(0, len(sounds), TURN)]
    heard: dict[str, list[Heard]] = {"full": [], "short": []}
    loaded: list[Whisper] = [
        load_whisper(whisper, context=context, device=device, compute_type=dtype) for context in ("full", "short")
    ]
    full = _listening(loaded[0], turns, heard["full"], clock)
    short = _listening(loaded[1], turns, heard["short"], clock)
    values, naives = in_turns(short, full, progress, repeats=len(turns))
    shown = sum(window_samples(len(sound)) for sound in sounds)
    return figures(
        "hear",
        "seconds of speech a second" if clock is time.perf_counter else "seconds of speech a second of processor time",
        compared(values, naives, median(naives) * len(sounds) * CONTEXT_SAMPLES / shown),
        wer={context: _wer(rows, kept) for context, kept in heard.items()},
        cosine=round(_cosine(heard["full"], heard["short"]), 4),
        questions=len(sounds),
        speech_s=round(sum(map(len, sounds)) / QUESTION_RATE_HZ, 1),
        whisper=whisper,
        device=resolve(device),
        dtype=dtype,
    )


def _listening(engine: Whisper, turns: list[list[Waveform]], heard: list[Heard], clock: Clock) -> Callable[[], float]:
    """Give what listens to one turn after the other, and says how many seconds of speech it took in a second."""
    engine.listen([np.zeros(QUESTION_RATE_HZ, np.float32)])
    left = iter(turns)

    def listen() -> float:
        sounds = next(left)
        started = clock()
        found = engine.listen(sounds)
        spent_s = clock() - started
        heard.extend(each for each in found if isinstance(each, Heard))
        return sum(map(len, sounds)) / QUESTION_RATE_HZ / spent_s

    return listen


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


def text(found: Figures) -> str:
    """The figures as lines for a person; ours is the short context, naive the full one."""
    return describe(
        found,
        "the full context, by how much less is shown",
        "ours listens in the short context, naive in the full one",
        f"WER short {found['wer']['short']:.2%}, full {found['wer']['full']:.2%}; cosine of the features "
        f"{found['cosine']}",
        f"{found['questions']} questions, {found['speech_s']} s of speech, {found['whisper']}",
    )
