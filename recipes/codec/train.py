"""From text to a codec's weights: speak sentences, train on them, write the weights, measure them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Audio, Section, Speed, read_recipe
from anytalk.pipelines.speech import Utterance, VoiceEngine
from anytalk.recipes.shipped import find
from anytalk.synth.codec.bundled import weights_bytes
from anytalk.synth.codec.network import CodecConfig
from anytalk.synth.corpus.sentence import sentences
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import load_whisper
from anytalk.synth.seed import derive_seed, digest
from anytalk.synth.threads import torch_threads

from .chart import line_chart
from .evaluate import evaluate_codec, held_out
from .hearing_loss import read_encoder
from .steps import CodecTrainer, CodecTraining, Speech, load_checkpoint, save_checkpoint


class SpeechSection(Section):
    """What is spoken, and by whom: each sentence by one voice, in turn."""

    sentences: int = Field(1200, ge=2, description="drawn from the built-in grammar, where no text is given")
    text: str | None = Field(None, description="file of sentences, one a line")
    voices: tuple[str, ...] = Field(min_length=1)
    speed: tuple[Speed, Speed] = (1.0, 1.0)
    audio: Audio = Audio()


class EvaluationSection(Section):
    """How the weights are measured in the end; they are the same whatever is set here."""

    sentences: int = Field(100, ge=1)
    text: str | None = Field(
        None, description="file of held-out sentences, one a line, instead of the shipped English ones"
    )
    recogniser: str = "tiny.en"
    language: str = Field("en", description="of the held-out sentences")


class CodecRecipe(Section):
    """Everything that the weights follow from."""

    name: str
    revision: str
    seed: int = 1
    speech: SpeechSection
    network: CodecConfig = CodecConfig()
    training: CodecTraining = CodecTraining()
    evaluation: EvaluationSection = EvaluationSection()


def load_codec_recipe(name: str, overrides: Mapping[str, object]) -> CodecRecipe:
    """Read a codec recipe by name or path; see `read_recipe`."""
    return read_recipe(find(name, "codec"), CodecRecipe, overrides)


def train_codec(recipe: CodecRecipe, out: Path, progress: Reporter) -> dict[str, Any]:
    """Run the recipe in a folder, or go on with it.

    Args:
        recipe: what to do.
        out: folder of the run: speech/, checkpoint.pt, metrics.jsonl, loss.svg, codec.safetensors, figures.json.
        progress: who is told how far it is.

    Returns:
        The path of the weights and the figures of `evaluate`.

    Raises:
        SetupError: the folder holds another recipe's run, or a voice, a text or a recogniser is missing.
    """
    wanted = recipe.evaluation
    texts = held_out(Path(wanted.text) if wanted.text else None, wanted.sentences)
    # Who is missing in the end is named now, not after hours.
    load_whisper(wanted.recogniser, language=wanted.language)
    if any(part.hearing_weight for part in recipe.training.rounds):
        read_encoder(recipe.training.recogniser)
    _claim(recipe, out)
    speech = speak(recipe, out / "speech", progress)
    trainer = CodecTrainer(recipe.network, recipe.training, speech)
    load_checkpoint(trainer, out)
    with torch_threads(recipe.training.threads):
        _train(trainer, out, progress)
    weights = out / "codec.safetensors"
    weights.write_bytes(weights_bytes(trainer.average, recipe.name, recipe.revision))
    _plot(out)
    figures = evaluate_codec(
        str(weights),
        recipe.speech.voices,
        texts,
        progress,
        out / "examples",
        recogniser=wanted.recogniser,
        language=wanted.language,
    )
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    return {"weights": str(weights), "figures": figures}


def _claim(recipe: CodecRecipe, out: Path) -> None:
    """Write the resolved recipe into the folder, or refuse a folder that holds another one."""
    resolved = recipe.model_dump(mode="json", exclude={"evaluation"})
    path = out / "recipe.json"
    if path.is_file():
        if json.loads(path.read_text()) != resolved:
            raise SetupError(f"{out} holds the run of another recipe; name another folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise SetupError(f"{out} is not empty and holds no codec run; name another folder")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(resolved, indent=2) + "\n")


def speak(recipe: CodecRecipe, folder: Path, progress: Reporter) -> Speech:
    """Speak the training text, a part at a time; parts that are there already are not spoken again."""
    settings = recipe.speech
    texts = held_out(Path(settings.text), None) if settings.text else sentences(settings.sentences, recipe.seed)
    part_size = 100
    speaking = VoiceEngine(settings.voices, settings.audio)
    folder.mkdir(exist_ok=True)
    progress.start("sentences spoken", len(texts))
    parts = []
    try:
        for first in range(0, len(texts), part_size):
            part = texts[first : first + part_size]
            key = digest(settings.model_dump_json(), json.dumps(speaking.fingerprint()), recipe.seed, *part)[:16]
            path = folder / f"{first:06d}-{key}.npz"
            if not path.is_file():
                _speak_part(part, first, recipe, speaking, path)
            with np.load(path, allow_pickle=False) as saved:
                parts.append((saved["samples"], saved["lengths"]))
            progress.advance(len(part))
    finally:
        progress.stop()
    lengths = np.concatenate([part_lengths for _, part_lengths in parts])
    return Speech(np.concatenate([samples for samples, _ in parts]), np.cumsum(lengths))


def _speak_part(texts: list[str], first: int, recipe: CodecRecipe, speaking: VoiceEngine, path: Path) -> None:
    settings, jobs = recipe.speech, []
    for number, text in enumerate(texts, start=first):
        seed = derive_seed(recipe.seed, "codec speech", number)
        speed = round(float(np.random.default_rng(seed).uniform(*settings.speed)), 3)
        voice = settings.voices[number % len(settings.voices)]
        jobs.append(
            Utterance(
                text,
                voice,
                seed % 2**32,
                speed,
                1.0,
                recipe.network.sample_rate_hz,
                settings.audio.max_answer_s,
            )
        )
    spoken = speaking.speak(jobs)
    kept = [np.rint(w * 32768.0).astype(np.int16) for w in spoken if not isinstance(w, SampleError)]
    if len(kept) < len(texts) / 2:
        raise SetupError(
            f"more than half of the text cannot be spoken: {next(w for w in spoken if isinstance(w, SampleError))}"
        )
    part = path.with_suffix(".part.npz")
    np.savez(part, samples=np.concatenate(kept), lengths=np.array([len(w) for w in kept]))
    part.replace(path)


def _train(trainer: CodecTrainer, out: Path, progress: Reporter) -> None:
    """Train, with a line of metrics for each step and a checkpoint now and then."""
    progress.start("codec training", trainer.training.steps, trainer.step)
    try:
        with (out / "metrics.jsonl").open("a") as log:

            def save(trainer: CodecTrainer) -> None:
                log.flush()
                save_checkpoint(trainer, out)

            for metrics in trainer.run(save):
                log.write(json.dumps({key: round(value, 6) for key, value in metrics.items()}) + "\n")
                progress.advance(1, f"mel {metrics['mel']:.3f}")
    finally:
        progress.stop()


def _plot(out: Path) -> None:
    """Draw the losses of all steps."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    curves = {
        name: [(row["step"], row[name]) for row in rows if name in row]
        for name in ("mel", "magnitude", "pitch", "hearing", "adversarial", "feature")
    }
    (out / "loss.svg").write_text(line_chart("Codec training", "step", "loss (log-mel in nats)", curves))
