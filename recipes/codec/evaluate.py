"""How good is a codec? Speech before and after it, on sentences that no training saw.

Measures: word error rate of a recogniser (tiny.en by default), DNSMOS overall, distance of log-mels, use of the
codebooks, speed on one core, and size. The same code measures the bundled codec, SNAC, and one that a user trained.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile
import torch

from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Audio
from anytalk.pipelines.speech import Utterance, VoiceEngine
from anytalk.synth.audio import Waveform, resample
from anytalk.synth.batch import raise_first
from anytalk.synth.codec import Codec, load_codec
from anytalk.synth.codec.network import CodecConfig, Encoder
from anytalk.synth.codec.order import to_levels
from anytalk.synth.device import Dtype
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import Whisper, load_whisper
from anytalk.synth.judge.dnsmos import Dnsmos
from anytalk.synth.judge.error_rate import whisper_normaliser
from anytalk.synth.language import primary

from .steps import perplexity

VOICES = ("hibari:heart", "piper:joe")


def held_out(path: Path | None, count: int | None) -> list[str]:
    """Sentences of a file, or the shipped ones that no training of ours uses.

    Raises:
        SetupError: the file is missing or holds none.
    """
    if path is None:
        text = (resources.files("anytalk.synth") / "corpus" / "holdout.txt").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise SetupError(f"text {path} does not exist")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise SetupError(f"text {path} holds no sentences")
    return lines[:count]


def evaluate_codec(
    codec_name: str,
    voices: Sequence[str],
    texts: Sequence[str],
    progress: Reporter,
    examples: Path | None = None,
    recogniser: str = "tiny.en",
    language: str = "en",
    device: str = "cpu",
    dtype: Dtype = "float32",
) -> dict[str, Any]:
    """Measure a codec on sentences spoken by some voices.

    Args:
        codec_name: see `load_codec`.
        voices: who speaks; each speaks every sentence.
        texts: what is spoken.
        progress: who is told how far it is.
        examples: folder for three sentences a voice, before and after.
        recogniser: who listens; see `load_whisper`.
        language: BCP-47 tag of the texts.
        device: where all engines compute; see `synth.device.resolve`.
        dtype: precision of the codec; see `load_codec`.

    Returns:
        Figures by voice, the use of each codebook over all of them, and the size in megabytes.
    """
    codec = load_codec(codec_name, device=device, dtype=dtype)
    whisper = load_whisper(recogniser, language=language, device=device)
    whisper_normalise = whisper_normaliser(primary(language))
    # A sentence is repeated to fill windows of nine seconds: more than one window would hear the same again.
    dnsmos = Dnsmos(max_windows=1, device=device)
    speaking = VoiceEngine(voices, Audio(), device=device)
    codes: list[np.ndarray] = []
    figures: dict[str, Any] = {}
    progress.start("voices measured", len(voices))
    try:
        for voice in voices:
            spoken = _speak(speaking, voice, texts, codec.sample_rate_hz)
            figures[voice], made = _measure(codec, spoken, texts, whisper, whisper_normalise, dnsmos)
            codes += made["codes"]
            if examples is not None:
                _write_examples(examples, voice, spoken, made["audio"], codec.sample_rate_hz)
            progress.advance(1)
    finally:
        progress.stop()
    return {
        "codec": dict(codec.fingerprint),
        "recogniser": recogniser,
        "sentences_a_voice": len(texts),
        "voices": figures,
        "codebooks": codebook_use(codes, codec.codebook_size),
        "size_mb": _size_mb(codec),
        "threads": 1,
        "machine_cores": os.cpu_count(),
    }


def _speak(speaking: VoiceEngine, voice: str, texts: Sequence[str], rate_hz: int) -> list[Waveform]:
    jobs = [Utterance(text, voice, seed, 1.0, 1.0, rate_hz, 60.0) for seed, text in enumerate(texts)]
    return raise_first(speaking.speak(jobs))


def _measure(
    codec: Codec,
    spoken: list[Waveform],
    texts: Sequence[str],
    whisper: Whisper,
    whisper_normalise: Callable[[str], str],
    dnsmos: Dnsmos,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Figures of one voice, and what the codec made."""
    codec.decode(raise_first(codec.encode(spoken[:1])))  # Warm up, so that the first call's set-up is not timed.
    started = time.perf_counter()
    codes = raise_first([codec.encode([waveform])[0] for waveform in spoken])
    encoded = time.perf_counter()
    audio = raise_first([codec.decode([frames])[0] for frames in codes])
    decoded = time.perf_counter()
    audio = [made[: len(real)] for made, real in zip(audio, spoken, strict=True)]
    seconds = sum(len(waveform) for waveform in spoken) / codec.sample_rate_hz
    before, after = ([resample(w, codec.sample_rate_hz, 16_000) for w in group] for group in (spoken, audio))
    figures = {
        "seconds_of_speech": seconds,
        "wer_before": word_error_rate(whisper, before, texts, whisper_normalise),
        "wer_after": word_error_rate(whisper, after, texts, whisper_normalise),
        "mos_before": statistics.fmean(raise_first(dnsmos.score(before))),
        "mos_after": statistics.fmean(raise_first(dnsmos.score(after))),
        "mel_distance": statistics.fmean(
            mel_distance(m, r, codec.sample_rate_hz) for m, r in zip(audio, spoken, strict=True)
        ),
        "encode_x_real_time": seconds / (encoded - started),
        "decode_x_real_time": seconds / (decoded - encoded),
        "both_x_real_time": seconds / (decoded - started),
    }
    return {key: round(value, 4) for key, value in figures.items()}, {"codes": codes, "audio": audio}


def word_error_rate(
    whisper: Whisper, waveforms_16k: list[Waveform], texts: Sequence[str], whisper_normalise: Callable[[str], str]
) -> float:
    """Errors over words of all utterances, heard in full 30-second windows and normalised as Whisper's authors do."""
    heard = whisper.listen(waveforms_16k)
    words = [whisper_normalise("" if isinstance(h, SampleError) else h.text) for h in heard]
    return float(jiwer.wer([whisper_normalise(text) for text in texts], words))


@torch.inference_mode()
def mel_distance(made: Waveform, real: Waveform, rate_hz: int) -> float:
    """Mean absolute difference of log-mels (100 bands, 1024-sample windows), in nats."""
    config = CodecConfig(sample_rate_hz=rate_hz)
    length = max(len(made), len(real))
    length += -length % config.frame_samples
    pair = np.stack([np.pad(waveform, (0, length - len(waveform))) for waveform in (made, real)])
    mels = Encoder(config).log_mel(torch.from_numpy(pair))
    return float((mels[0] - mels[1]).abs().mean())


def codebook_use(codes: Sequence[np.ndarray], codebook_size: int) -> list[dict[str, float]]:
    """For each level: how many codes it was given, their perplexity, and how many of the codebook never occurred."""
    use = []
    for level in zip(*(to_levels(frames) for frames in codes), strict=True):
        counts = np.bincount(np.concatenate(level), minlength=codebook_size)
        perplexity_ = perplexity(torch.from_numpy(counts).double())
        use.append(
            {
                "tokens": int(counts.sum()),
                "perplexity": round(perplexity_, 1),
                "unused": int((counts == 0).sum()),
            }
        )
    return use


def _size_mb(codec: Codec) -> float:
    return round(codec.weights_bytes / 1e6, 2)


def _write_examples(folder: Path, voice: str, real: list[Waveform], made: list[Waveform], rate_hz: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    label = voice.replace(":", "-").replace("/", "-")
    for number in range(min(3, len(real))):
        soundfile.write(folder / f"{label}-{number}-before.wav", real[number], rate_hz)
        soundfile.write(folder / f"{label}-{number}-after.wav", made[number], rate_hz)


def figures_table(figures: Mapping[str, Any]) -> str:
    """The figures as a Markdown table."""
    rows = [
        "| voice | WER before | WER after | DNSMOS before | DNSMOS after | mel distance | encode | decode |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for voice, f in figures["voices"].items():
        rows.append(
            f"| {voice} | {f['wer_before']:.1%} | {f['wer_after']:.1%} | {f['mos_before']:.2f} | {f['mos_after']:.2f} "
            f"| {f['mel_distance']:.3f} | {f['encode_x_real_time']:.0f}x | {f['decode_x_real_time']:.0f}x |"
        )
    levels = "; ".join(
        f"level {number}: perplexity {level['perplexity']:.0f}, {level['unused']} unused ({level['tokens']} tokens)"
        for number, level in enumerate(figures["codebooks"])
    )
    return "\n".join(
        [*rows, "", f"Words heard by {figures['recogniser']}. Codebooks: {levels}. Size {figures['size_mb']} MB."]
    )
