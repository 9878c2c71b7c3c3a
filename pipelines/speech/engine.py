"""The four engines of a build, each as one object that lives where its work is done: in this process or in a Ray actor.

Every method takes and returns plain values and numpy arrays, so that the same call gives the same bytes in both places.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anytalk.pipelines.dataset import QUESTION_RATE_HZ
from anytalk.pipelines.recipe import KEPT_CODES, Audio, Augment, Codec, Features, Voices
from anytalk.pipelines.source import read_recording
from anytalk.synth.audio import Waveform, check_waveform, read_audio, resample, set_loudness, trim_silence
from anytalk.synth.augment.chain import described
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.fingerprint import Fingerprint, file_sha256
from anytalk.synth.hearing import Heard, Whisper, computes_in, load_whisper
from anytalk.synth.judge import Vad, load_mos, load_vad, trim_to_speech
from anytalk.synth.judge.contract import SAMPLE_RATE_HZ, Span
from anytalk.synth.judge.speaker import SpeakerNetwork, similarity
from anytalk.synth.voice import SpeakRequest, Terms, Voice, load_voice, refuse_unknown

from .utterance import Utterance


class VoiceEngine:
    """Voices, and all that is done to an utterance before it is stored.

    Args:
        voices: names of the voices that may be asked for; all are loaded at once, so that a missing one shows early.
        audio: trimming, loudness and limits.
        section: of the recipe: speech servers and terms of voices. None where voices only speak for a test or a model.
        augment: what is done to questions; None for nothing.
        device: where voices compute that can use a GPU; see `synth.device.resolve`.

    Raises:
        SetupError: voices are missing, their terms are unknown, or folders of the augmentation are not in order; every
            one of them is named.
    """

    def __init__(
        self,
        voices: Sequence[str],
        audio: Audio,
        section: Voices | None = None,
        augment: Augment | None = None,
        device: str = "cpu",
    ) -> None:
        self.voices: dict[str, Voice] = {}
        self._loaded_vad: Vad | None = None
        self.audio = audio
        missing = []
        for name in voices:
            try:
                self.voices[name] = load_voice(name, section.servers if section else None, device)
            except SetupError as error:
                missing.append(str(error))
        declared = section.declared_terms() if section else {}
        self.terms: dict[str, Terms] = {name: declared.get(name, voice.terms) for name, voice in self.voices.items()}
        if section:
            try:
                refuse_unknown(self.terms, section.allow_unknown_terms)
            except SetupError as error:
                missing.append(str(error))
        self.chain = None
        if augment:
            try:
                self.chain = augment.chain()
            except SetupError as error:
                missing.append(str(error))
        if missing:
            raise SetupError("\n".join(dict.fromkeys(missing)))

    def fingerprint(self) -> dict[str, Fingerprint]:
        """Of every voice."""
        return {name: dict(voice.fingerprint) for name, voice in self.voices.items()}

    def licences(self) -> dict[str, dict[str, str | None]]:
        """Licence, source and consent of every voice."""
        return {name: dataclasses.asdict(terms) for name, terms in self.terms.items()}

    def speak(self, utterances: Sequence[Utterance]) -> list[Waveform | SampleError]:
        """Speak or read each utterance; what comes back is exactly what a 16-bit file will hold."""
        raw: list[Waveform | SampleError] = [
            self._read(utterance) if utterance.recording else np.zeros(0, np.float32) for utterance in utterances
        ]
        for name, voice in self.voices.items():
            own = {place: one for place, one in enumerate(utterances) if not one.recording and one.voice == name}
            requests = [SpeakRequest(one.text, one.seed, one.speed, one.pitch) for one in own.values()]
            for place, spoken in zip(own, voice.speak(requests), strict=True) if requests else ():
                raw[place] = self._resampled(spoken, voice.sample_rate_hz, utterances[place].rate_hz)
        return [self._finished(waveform, one) for waveform, one in zip(raw, utterances, strict=True)]

    def augmentation_fingerprint(self) -> dict[str, str]:
        """Of the files and programs that questions are augmented with."""
        assert self.chain is not None, "recipes without augment have no augmentation"
        return dict(self.chain.fingerprint)

    def augment(
        self, waveforms_16k: Sequence[Waveform], seeds: Sequence[int]
    ) -> list[tuple[Waveform, str | None] | SampleError]:
        """Augment each question: what a 16-bit file will hold of it, and what was done, as JSON; None for nothing."""
        assert self.chain is not None, "recipes without augment augment nothing"
        changed: list[tuple[Waveform, str | None] | SampleError] = []
        for waveform, seed in zip(waveforms_16k, seeds, strict=True):
            try:
                sound, done = self.chain(waveform, QUESTION_RATE_HZ, seed)
                length_s = len(sound) / QUESTION_RATE_HZ
                if length_s > self.audio.max_question_s:
                    raise too_long(length_s, self.audio.max_question_s)
                changed.append((sixteen_bit(sound), described(done)))
            except SampleError as error:
                changed.append(error)
        return changed

    def _resampled(self, spoken: Waveform | SampleError, from_hz: int, to_hz: int) -> Waveform | SampleError:
        return spoken if isinstance(spoken, SampleError) else resample(spoken, from_hz, to_hz)

    def _vad(self) -> Vad:
        """Of recordings; what voices speak has no use for it, so that it is loaded when it is needed."""
        if self._loaded_vad is None:
            self._loaded_vad = load_vad()
        return self._loaded_vad

    def _read(self, utterance: Utterance) -> Waveform | SampleError:
        assert utterance.recording is not None
        content = read_recording(utterance.recording)
        try:
            # Silence at the ends does not count, so that a little more than the limit is read.
            channel = utterance.recording.channel
            return read_audio(content, utterance.rate_hz, max_s=utterance.max_s + 10.0, channel=channel)
        except SampleError as error:
            return error

    def _finished(self, waveform: Waveform | SampleError, utterance: Utterance) -> Waveform | SampleError:
        if isinstance(waveform, SampleError):
            return waveform
        try:
            check_waveform(waveform)
            if self.audio.trim_silence and utterance.recording:
                waveform = trim_to_speech(waveform, utterance.rate_hz, self._vad(), self.audio.keep_silence_s)
            elif self.audio.trim_silence:
                waveform = trim_silence(waveform, utterance.rate_hz, self.audio.keep_silence_s)
            length_s = len(waveform) / utterance.rate_hz
            if length_s > utterance.max_s:
                raise too_long(length_s, utterance.max_s)
            waveform = set_loudness(waveform, utterance.rate_hz, self.audio.loudness_lufs)
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


class RecogniserEngine:
    """The recogniser: one Whisper for features and transcripts, or one for each.

    Args:
        features: names the Whisper that features come from.
        language: BCP-47 tag of what it hears where a row says no other.
        device: where it computes; see `synth.device.resolve`.
        recogniser: names the Whisper that transcribes; None for the same.

    Raises:
        SetupError: it cannot be had, does not know the language, or cannot run on the device.
    """

    def __init__(self, features: Features, language: str, device: str = "cpu", recogniser: str | None = None) -> None:
        self.whisper = _loaded(features.model, features, language, device)
        self._recogniser = _loaded(recogniser, features, language, device) if recogniser else None

    @property
    def _transcribing(self) -> Whisper:
        return self._recogniser or self.whisper

    def fingerprint(self) -> dict[str, object]:
        """Of the model that features come from, with the width of its states."""
        return {**self.whisper.fingerprint, "width": self.whisper.feature_width}

    def recogniser_fingerprint(self) -> dict[str, object]:
        """Of the model that transcribes."""
        return dict(self._transcribing.fingerprint)

    def require(self, languages: Sequence[str]) -> None:
        """See that it knows the languages of all rows.

        Raises:
            SetupError: it does not; one line for each language.
        """
        self._transcribing.require(languages)

    def listen(self, waveforms_16k: Sequence[Waveform], languages: Sequence[str]) -> list[Heard | SampleError]:
        """Transcripts and features, from one encoder pass each; `languages` holds the tag of each."""
        if self._recogniser is None:
            return self.whisper.listen(waveforms_16k, languages)
        heard, features = self.transcribe(waveforms_16k, languages), self.features(waveforms_16k)
        return [_with_features(text, states) for text, states in zip(heard, features, strict=True)]

    def features(self, waveforms_16k: Sequence[Waveform]) -> list[np.ndarray | SampleError]:
        """Features alone, those of `listen`."""
        return self.whisper.features(waveforms_16k)

    def transcribe(self, waveforms_16k: Sequence[Waveform], languages: Sequence[str]) -> list[Heard | SampleError]:
        """Transcripts without features; `languages` holds the tag of each."""
        return self._transcribing.transcribe(waveforms_16k, languages)


def _with_features(heard: Heard | SampleError, features: np.ndarray | SampleError) -> Heard | SampleError:
    if isinstance(heard, SampleError):
        return heard
    return features if isinstance(features, SampleError) else dataclasses.replace(heard, features=features)


def _loaded(model: str, features: Features, language: str, device: str) -> Whisper:
    # What a recipe names for features may be no arithmetic of another engine that transcribes, and the usual int8 of
    # texts is CTranslate2's; then texts are made in that of features.
    knows = {kind: computes_in(model, kind) for kind in (features.compute_type, features.text_compute_type)}
    return load_whisper(
        model,
        language=language,
        compute_type=features.compute_type if model == features.model or knows[features.compute_type] else "float32",
        text_compute_type=features.text_compute_type if knows[features.text_compute_type] else None,
        context=features.context,
        device=device,
    )


class Sound(NamedTuple):
    """How an utterance sounds: opinion score (1 to 5), stretches of speech in seconds, likeness of the speaker."""

    mos: float
    spans: list[Span]
    similarity: float | None


MAX_REFERENCE_S = 120.0


class JudgeEngine:
    """Opinion scores, speech spans, and speakers.

    Args:
        mos: name of the judge that gives opinion scores.
        speaker: ONNX file of a speaker network; None for none.
        references: recordings of the speakers, by voice.
        device: where all of them compute; see `synth.device.resolve`.

    Raises:
        SetupError: the network or recordings are missing or cannot be read, one line for each; or they cannot run on
            the device.
    """

    def __init__(
        self,
        mos: str,
        speaker: str | None = None,
        references: Mapping[str, str] | None = None,
        device: str = "cpu",
    ) -> None:
        self.mos = load_mos(mos, device)
        self.vad = load_vad(device=device)
        self.speaker = None if speaker is None else SpeakerNetwork(speaker, device=device)
        self.references: dict[str, np.ndarray] = {}
        self.reference_hashes: dict[str, str] = {}
        if self.speaker:
            self._read_references(references or {}, self.speaker)

    def _read_references(self, references: Mapping[str, str], speaker: SpeakerNetwork) -> None:
        unread = []
        for voice, path in references.items():
            try:
                waveform = read_audio(Path(path), SAMPLE_RATE_HZ, max_s=MAX_REFERENCE_S)
            except SampleError as error:
                unread.append(f"reference {path} of {voice}: {error}")
            else:
                self.references[voice] = speaker.embed(waveform)
                self.reference_hashes[voice] = file_sha256(Path(path))
        if unread:
            raise SetupError("\n".join(unread))

    def fingerprint(self) -> dict[str, object]:
        """Of all models, and of the references."""
        models = {"mos": self.mos.fingerprint, "vad": self.vad.fingerprint}
        if self.speaker is None:
            return {**models}
        return {**models, "speaker": self.speaker.fingerprint, "references_sha256": self.reference_hashes}

    def judge(self, waveforms_16k: Sequence[Waveform], voices: Sequence[str | None]) -> list[Sound | SampleError]:
        """Opinion score, speech and speaker of each utterance; the voices that spoke them, None for recordings."""
        scores = self.mos.score(waveforms_16k)
        return [
            score
            if isinstance(score, SampleError)
            else Sound(score, self.vad.speech_spans(waveform), self._similarity(waveform, voice))
            for score, waveform, voice in zip(scores, waveforms_16k, voices, strict=True)
        ]

    def _similarity(self, waveform_16k: Waveform, voice: str | None) -> float | None:
        if self.speaker is None or voice is None or voice not in self.references:
            return None
        return similarity(self.references[voice], self.speaker.embed(waveform_16k))


PUBLISHED_SNAC = {
    "name": "hubertsiuzdak/snac_24khz",
    "revision": "d73ad176a12188fcf4f360ba3bf2c2fbbe8f58ec",
    "sha256": "4b8164cc6606bfa627f1a784734c1e539891518f1191ed9194fe1e3b9b4bff40",
}
"""Fingerprint of the SNAC at 24 kHz on the hub, which published codes are of; the hash is of pytorch_model.bin."""


class CodecEngine:
    """The codec.

    Args:
        section: of the recipe; it may name no codec at all.
        meets_codes: whether it will be asked to decode codes that the source brings, which are SNAC's.
        device: where it computes; see `synth.device.resolve`.

    Raises:
        SetupError: it meets codes and is no SNAC, there is no compiler, or it cannot run on the device.
    """

    def __init__(self, section: Codec, meets_codes: bool = False, device: str = "cpu") -> None:
        kept = section.model == KEPT_CODES
        self.codec = (
            None
            if kept
            else load_codec(section.model, compiled=section.compiled, device=device, dtype=section.compute_type)
        )
        if meets_codes and self.codec is not None:
            from anytalk.synth.codec.snac import SnacCodec

            if not isinstance(self.codec, SnacCodec):
                raise SetupError(
                    f"codec {section.model} is no SNAC, but the source brings SNAC codes; name one, or {KEPT_CODES}"
                )

    def fingerprint(self) -> dict[str, object]:
        """Of the codec; without one, of the SNAC that published codes are of."""
        return dict(PUBLISHED_SNAC if self.codec is None else self.codec.fingerprint)

    def encode(self, waveforms_24k: Sequence[Waveform]) -> list[np.ndarray | SampleError]:
        """Codes of each utterance, (frames, 7) uint16; an error for one that cannot be encoded."""
        assert self.codec is not None, "recipes that keep codes have nothing to encode"
        return self.codec.encode(waveforms_24k)

    def decode(self, codes: Sequence[np.ndarray]) -> list[Waveform | SampleError] | None:
        """Speech of each utterance's codes at 24 kHz, as 16 bits hold it; None without a codec."""
        if self.codec is None:
            return None
        decoded = self.codec.decode(codes)
        return [made if isinstance(made, SampleError) else sixteen_bit(made) for made in decoded]
