"""How fast is a build? Hours of speech an hour, beside a plain script with the same engines, in the same run."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from faster_whisper import WhisperModel

from anytalk.pipelines import build
from anytalk.pipelines.dataset import ANSWER_RATE_HZ, QUESTION_RATE_HZ, RATES_HZ, Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.speech import utterance_of
from anytalk.recipes.device import Device
from anytalk.recipes.shipped import find
from anytalk.synth.audio import resample
from anytalk.synth.batch import raise_first
from anytalk.synth.codec import load_codec
from anytalk.synth.device import resolve
from anytalk.synth.hearing.faster import model_folder
from anytalk.synth.voice import SpeakRequest, load_voice

from .figures import Figures, compared, describe, figures

EPILOG = "Examples:  anytalk bench build --conversations 24  |  anytalk bench build --local --device cpu"


def bench(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Whose source is text: a name, or a YAML file.")] = (
        "quickstart"
    ),
    conversations: Annotated[int, typer.Option(min=1, help="How many of the recipe's conversations.")] = 24,
    local: Annotated[bool, typer.Option("--local", help="Run in this process instead of on Ray.")] = False,
    device: Device = "auto",
    *,
    progress: Reporter,
) -> Figures:
    """Build a part of a recipe, and do the same rows one at a time."""
    loaded = load_recipe(find(recipe, "build"), {"source.limit": conversations, "resources.device": device})
    with tempfile.TemporaryDirectory() as folder:
        # The plain script goes first: what a build sets in its process, it does not have.
        naive, naive_seconds = naive_rate(loaded, Store(Path(folder) / "planned"))
        summary = build(loaded, Path(folder) / "built", local=local, progress=progress)
    assert summary.speech_hours_per_work_hour is not None
    speech_s = summary.speech_hours * 3600
    bound = speech_s / (sum(summary.seconds.values()) / (os.cpu_count() or 1))
    return figures(
        "build",
        "seconds of speech a second",
        compared([summary.speech_hours_per_work_hour], [naive], bound),
        rows=summary.rows_accepted,
        speech_s=round(speech_s, 1),
        seconds=summary.seconds,
        naive_seconds=naive_seconds,
    )


def naive_rate(recipe: Any, store: Store) -> tuple[float, dict[str, float]]:
    """The plain script: for each row speak both sides, transcribe both, encode features, encode codes.

    It uses the libraries as their own examples do, with all cores, and judges nothing.
    """
    rows = [row for unit in load_or_make(recipe, store).units for row in unit]
    names = {choice.voice for choice in (*recipe.voices.question, recipe.voices.answer)}
    voices = {name: load_voice(name) for name in names}
    kind, _, number = resolve(recipe.resources.device, "ctranslate2").partition(":")
    whisper = WhisperModel(
        str(model_folder(recipe.features.model)),
        device=kind,
        device_index=int(number or 0),
        compute_type=recipe.features.compute_type,
        cpu_threads=os.cpu_count() or 1,
    )
    codec = load_codec(recipe.codec.model, threads=os.cpu_count() or 1, device=recipe.resources.device)
    seconds = {"voices": 0.0, "hearing": 0.0, "features": 0.0, "codec": 0.0}
    speech_s = 0.0
    for row in rows:
        audio = {}
        with _added(seconds, "voices"):
            for side, rate_hz in RATES_HZ.items():
                asked = utterance_of(row, side, 0, recipe)
                voice = voices[asked.voice]
                [spoken] = raise_first(voice.speak([SpeakRequest(asked.text, asked.seed, asked.speed, asked.pitch)]))
                audio[side] = resample(spoken, voice.sample_rate_hz, rate_hz)
        with _added(seconds, "hearing"):
            for side, rate_hz in RATES_HZ.items():
                sound = resample(audio[side], rate_hz, QUESTION_RATE_HZ)
                segments, _ = whisper.transcribe(sound, language=row.pair.language.partition("-")[0], beam_size=1)
                " ".join(segment.text for segment in segments)
        with _added(seconds, "features"):
            whisper.encode(_thirty_seconds(whisper.feature_extractor(audio["question"])))
        with _added(seconds, "codec"):
            codec.encode([audio["answer"]])
        speech_s += len(audio["question"]) / QUESTION_RATE_HZ + len(audio["answer"]) / ANSWER_RATE_HZ
    return speech_s / sum(seconds.values()), {stage: round(passed, 1) for stage, passed in seconds.items()}


@contextmanager
def _added(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add what a stage takes to its seconds."""
    started = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - started


def _thirty_seconds(mel: Any) -> Any:
    """Pad or cut a log-mel (bands, frames) to Whisper's 3000 frames."""
    return np.pad(mel[:, :3000], ((0, 0), (0, max(0, 3000 - mel.shape[1]))))


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in found["seconds"].items())
    naive = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in found["naive_seconds"].items())
    rows = f"{found['rows']} rows, {found['speech_s']} s of speech; stages: {stages}; naive: {naive}"
    return describe(found, "all stage seconds spread over all cores", rows)
