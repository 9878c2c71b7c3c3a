"""The four engines of a build, each as one object that lives where its work is done: in this process or in a Ray actor.

Every method takes and returns plain values and numpy arrays, so that the same call gives the same bytes in both places.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from anytalk.synth.audio import Waveform, check_waveform, read_audio, resample, set_loudness, trim_silence
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import Heard, load_whisper
from anytalk.synth.judge.dnsmos import Dnsmos
from anytalk.synth.judge.vad import SileroVad
from anytalk.synth.voice import SpeakRequest, Terms, Voice, load_voice, refuse_unknown

from .recipe import KEPT_CODES, Audio, Features, Voices
from .source import Recording, read_recording


@dataclasses.dataclass(frozen=True)
class Job:
    """One utterance to be spoken, or read where there is a recording."""

    text: str
    voice: str
    seed: int
    speed: float
    pitch: float
    rate_hz: int
    max_s: float
    recording: Recording | None = None

    def label(self) -> str:
        """What the row says of the voice."""
        if self.recording is not None:
            return self.recording.label()
        return f"{self.voice} speed={self.speed:g} pitch={self.pitch:g} seed={self.seed}"


class Speaking:
    """Voices, and all that is done to an utterance before it is stored.

    Args:
        voices: names of the voices that may be asked for; all are loaded at once, so that a missing one shows early.
        audio: trimming, loudness and limits.
        section: of the recipe: speech servers and terms of voices. None where voices only speak for a test or a model.

    Raises:
        SetupError: voices are missing, or their terms are unknown; every one of them is named.
    """

    def __init__(self, voices: Sequence[str], audio: Audio, section: Voices | None = None) -> None:
        self.voices: dict[str, Voice] = {}
        self.audio = audio
        missing = []
        for name in voices:
            try:
                self.voices[name] = load_voice(name, section.servers if section else None)
            except SetupError as error:
                missing.append(str(error))
        declared = section.declared_terms() if section else {}
        self.terms: dict[str, Terms] = {name: declared.get(name, voice.terms) for name, voice in self.voices.items()}
        if section:
            try:
                refuse_unknown(self.terms, section.allow_unknown_terms)
            except SetupError as error:
                missing.append(str(error))
        if missing:
            raise SetupError("\n".join(missing))

    def fingerprint(self) -> dict[str, str]:
        """Of every voice."""
        return {name: voice.fingerprint for name, voice in self.voices.items()}

    def licences(self) -> dict[str, dict[str, str | None]]:
        """Licence, source and consent of every voice."""
        return {name: dataclasses.asdict(terms) for name, terms in self.terms.items()}

    def speak(self, jobs: Sequence[Job]) -> list[Waveform | SampleError]:
        """Speak or read each job; what comes back is exactly what a 16-bit file will hold."""
        raw: list[Waveform | SampleError] = [
            self._read(job) if job.recording else np.zeros(0, np.float32) for job in jobs
        ]
        for name, voice in self.voices.items():
            places = [place for place, job in enumerate(jobs) if not job.recording and job.voice == name]
            requests = [SpeakRequest(j.text, j.seed, j.speed, j.pitch) for j in (jobs[place] for place in places)]
            for place, spoken in zip(places, voice.speak(requests), strict=True) if requests else ():
                raw[place] = self._resampled(spoken, voice.sample_rate_hz, jobs[place].rate_hz)
        return [self._finished(waveform, job) for waveform, job in zip(raw, jobs, strict=True)]

    def _resampled(self, spoken: Waveform | SampleError, from_hz: int, to_hz: int) -> Waveform | SampleError:
        return spoken if isinstance(spoken, SampleError) else resample(spoken, from_hz, to_hz)

    def _read(self, job: Job) -> Waveform | SampleError:
        assert job.recording is not None
        content = read_recording(job.recording)
        try:
            # Silence at the ends does not count, so that a little more than the limit is read.
            return read_audio(content, job.rate_hz, max_s=job.max_s + 10.0)
        except SampleError as error:
            return error

    def _finished(self, waveform: Waveform | SampleError, job: Job) -> Waveform | SampleError:
        if isinstance(waveform, SampleError):
            return waveform
        try:
            check_waveform(waveform)
            if self.audio.trim_silence:
                waveform = trim_silence(waveform, job.rate_hz, self.audio.keep_silence_s)
            length_s = len(waveform) / job.rate_hz
            if length_s > job.max_s:
                raise too_long(length_s, job.max_s)
            waveform = set_loudness(waveform, job.rate_hz, self.audio.loudness_lufs)
        except SampleError as error:
            return error
        return sixteen_bit(waveform)


def too_long(length_s: float, max_s: float) -> SampleError:
    """Say that an utterance is longer than its recipe allows."""
    return SampleError("too_long", f"{length_s:.1f} s; at most {max_s:g} s are allowed")


def sixteen_bit(waveform: Waveform) -> Waveform:
    """Round to what 16 bits hold, so that what is judged and encoded is what is stored."""
    rounded: Waveform = (np.clip(np.rint(waveform * 32768.0), -32768, 32767) / 32768.0).astype(np.float32)
    return rounded


class Hearing:
    """The recogniser.

    Args:
        features: names it.
        language: BCP-47 tag of what it hears where a row says no other.

    Raises:
        SetupError: it cannot be had, or does not know the language.
    """

    def __init__(self, features: Features, language: str) -> None:
        exact = features.model.startswith("openai:") or features.model.endswith(".pt")
        self.whisper = load_whisper(
            features.model,
            language=language,
            compute_type=features.compute_type,
            # openai-whisper has one arithmetic for everything.
            text_compute_type=None if exact else features.text_compute_type,
        )

    def fingerprint(self) -> dict[str, object]:
        """Of the model, with the width of its states."""
        return {**self.whisper.fingerprint, "width": self.whisper.feature_width}

    def require(self, languages: Sequence[str]) -> None:
        """See that it knows the languages of all rows.

        Raises:
            SetupError: it does not; one line for each language.
        """
        self.whisper.require(languages)

    def listen(self, waveforms_16k: Sequence[Waveform], languages: Sequence[str]) -> list[Heard | SampleError]:
        """Transcripts and features, from one encoder pass each; `languages` holds the tag of each."""
        return self.whisper.listen(waveforms_16k, languages)

    def transcribe(self, waveforms_16k: Sequence[Waveform], languages: Sequence[str]) -> list[str]:
        """Transcripts alone; `languages` holds the tag of each."""
        return self.whisper.transcribe(waveforms_16k, languages)


class Judging:
    """Opinion scores and speech spans."""

    def __init__(self, scale: Literal["p808", "p835"]) -> None:
        self.dnsmos = Dnsmos(scale)
        self.vad = SileroVad()

    def fingerprint(self) -> dict[str, object]:
        """Of both models."""
        return {"mos": self.dnsmos.fingerprint, "vad": self.vad.fingerprint}

    def judge(self, waveforms_16k: Sequence[Waveform]) -> list[tuple[float, list[tuple[float, float]]]]:
        """Overall opinion score (1 to 5) and speech spans in seconds, for each utterance."""
        scores = self.dnsmos.score(waveforms_16k)
        return [(score, self.vad.speech_spans(w)) for score, w in zip(scores, waveforms_16k, strict=True)]


PUBLISHED_SNAC = {
    "name": "hubertsiuzdak/snac_24khz",
    "revision": "d73ad176a12188fcf4f360ba3bf2c2fbbe8f58ec",
    "sha256": "4b8164cc6606bfa627f1a784734c1e539891518f1191ed9194fe1e3b9b4bff40",
}
"""Fingerprint of the SNAC at 24 kHz on the hub, which published codes are of; the hash is of pytorch_model.bin."""


class Encoding:
    """The codec.

    Args:
        model: name of the codec, or `snac-codes` for none at all.
        meets_codes: whether it will be asked to decode codes that the source brings, which are SNAC's.
        compiled: see `load_codec`.

    Raises:
        SetupError: it meets codes and is no SNAC, or there is no compiler.
    """

    def __init__(self, model: str, meets_codes: bool = False, compiled: bool = False) -> None:
        self.codec = None if model == KEPT_CODES else load_codec(model, compiled=compiled)
        if meets_codes and self.codec is not None:
            from anytalk.synth.codec.snac import SnacCodec  # imports the whole network

            if not isinstance(self.codec, SnacCodec):
                raise SetupError(
                    f"codec {model} is no SNAC, but the source brings SNAC codes; name one, or {KEPT_CODES}"
                )

    def fingerprint(self) -> dict[str, object]:
        """Of the codec; without one, of the SNAC that published codes are of."""
        return dict(PUBLISHED_SNAC if self.codec is None else self.codec.fingerprint)

    def encode(self, waveforms_24k: Sequence[Waveform]) -> list[np.ndarray]:
        """Codes of each utterance, (frames, 7) uint16."""
        assert self.codec is not None, "recipes that keep codes have nothing to encode"
        return self.codec.encode(waveforms_24k)

    def decode(self, codes: Sequence[np.ndarray]) -> list[Waveform] | None:
        """Speech of each utterance's codes at 24 kHz, as 16 bits hold it; None without a codec."""
        return None if self.codec is None else [sixteen_bit(waveform) for waveform in self.codec.decode(codes)]
