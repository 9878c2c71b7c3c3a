"""The recogniser: what is the same whichever engine runs the network.

An encoder pass takes one utterance: on one core a batch is slower (the activations leave the cache), and alone its
states cannot depend on its neighbours. Decoding reads all weights once a token, so there utterances of one window and
one language share a batch.

Shapes: M = mel bands, N = mel frames of 10 ms, T = states of 20 ms, D = width.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform, as_float32
from anytalk.synth.batch import run_good
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.language import whisper_code

from .contract import (
    CONTEXT_FRAMES,
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    Context,
    Heard,
    check_fits,
    check_hearable,
    feature_frames,
)
from .language import refuse_unknown
from .mel import log_mel
from .window import cut_long, is_doubtful, window_samples

DECODE_STATES = 6_400  # of a batch: 16 utterances of 8 s, 4 of 30 s; for `small` half a gigabyte of keys and values
TOKENS_PER_SECOND = 25  # twice fast English, and room for scripts that take several tokens a letter
TOKENS_AT_LEAST = 12

Mel = NDArray[np.float32]
States = NDArray[np.float32]


class Network(Protocol):
    """An engine with weights in it: the encoder, and greedy decoding of text without timestamps."""

    @property
    def band_count(self) -> int:
        """M, mel bands that the encoder takes."""

    @property
    def width(self) -> int:
        """D, width of the encoder's states."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, compute type, threads."""

    def encode(self, mel_MN: Mel) -> States:
        """Run the encoder on one spectrogram of at most 3,000 frames: float32 (N // 2, D)."""

    def encode_for_text(self, mel_MN: Mel) -> States:
        """Do the same where only a transcript is wanted, and a cheaper arithmetic will do."""

    def prompt(self, language: str) -> list[int]:
        """Ids that ask for a transcript in a language, a Whisper code.

        Raises:
            SetupError: the model does not know it.
        """

    def language_probabilities(self, states_BTD: States, language: str) -> list[float | None]:
        """How likely each of a batch is in a language (Whisper code), of all that are known; None for English alone."""

    def decode(self, states_BTD: States, token_limit: int, prompt: Sequence[int]) -> list[list[int]]:
        """Decode a batch greedily: the ids of the text alone, at most `token_limit` each."""

    def text(self, tokens: Sequence[int]) -> str:
        """Turn ids into text."""


class _Utterance(NamedTuple):
    """A waveform at 16 kHz, and Whisper's code of its language."""

    sound: Waveform
    language: str


class Recogniser:
    """Implements `Whisper` over a network.

    Args:
        network: the engine.
        name: the name under which it was loaded.
        language: Whisper's code of the language that it hears where it is told no other.
        context: what the encoder is shown when it makes features.

    Raises:
        SetupError: the model does not know the language.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, network: Network, name: str, language: str, context: Context = "full") -> None:
        self.name = name
        self.language = language
        self.context = context
        self.encoder_passes = 0
        self._network = network
        self._prompt = cache(network.prompt)
        self._prompt(language)

    @property
    def feature_width(self) -> int:
        """D, the width of the features."""
        return self._network.width

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that can change a byte."""
        # The full context goes without saying, as it did before there was another.
        context = {} if self.context == "full" else {"context": self.context}
        return {"model": self.name, "language": self.language, **self._network.fingerprint, **context}

    def require(self, languages: Iterable[str]) -> None:
        """See `Whisper.require`."""
        refuse_unknown(languages, self._prompt)

    def listen(
        self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None = None
    ) -> list[Heard | SampleError]:
        """See `Whisper.listen`. The decoder sees the states of the window that `transcribe` would choose."""
        return run_good(self._utterances(waveforms_16k, languages), lambda one: check_fits(one.sound), self._listen)

    def features(self, waveforms_16k: Sequence[Waveform]) -> list[np.ndarray | SampleError]:
        """See `Whisper.features`."""
        return run_good([*map(as_float32, waveforms_16k)], check_fits, self._features)

    def transcribe(
        self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None = None
    ) -> list[Heard | SampleError]:
        """See `Whisper.transcribe`."""
        utterances = self._utterances(waveforms_16k, languages)
        return run_good(utterances, lambda one: check_hearable(one.sound), self._transcribe)

    def _listen(self, utterances: Sequence[_Utterance]) -> list[Heard]:
        """Features and transcripts of utterances that fit into the context."""
        heard = [Heard("")] * len(utterances)
        for batch, frames, language in _batches(utterances):
            sounds = [utterances[row].sound for row in batch]
            states = [self._encode(sound, self._shown(sound), self._network.encode) for sound in sounds]
            shown_BTD = np.stack([each_TD[:frames] for each_TD in states])
            spoken = self._decode(shown_BTD, sounds, language)
            likely = self._network.language_probabilities(shown_BTD, language)
            for row, sound, each_TD, tokens, probability in zip(batch, sounds, states, spoken, likely, strict=True):
                if frames < CONTEXT_FRAMES and is_doubtful(tokens):
                    [tokens] = self._decode(self._in_full(each_TD, sound)[None], [sound], language)
                heard[row] = Heard(self._network.text(tokens).strip(), _features(each_TD, sound), probability)
        return heard

    def _features(self, sounds: Sequence[Waveform]) -> list[np.ndarray]:
        """Features of waveforms that fit into the context."""
        return [_features(self._encode(sound, self._shown(sound), self._network.encode), sound) for sound in sounds]

    def _transcribe(self, utterances: Sequence[_Utterance]) -> list[Heard]:
        """Transcripts of utterances of any length."""
        cut = [[_Utterance(piece, one.language) for piece in cut_long(one.sound)] for one in utterances]
        pieces = [piece for row in cut for piece in row]
        heard = [Heard("")] * len(pieces)
        encode = self._network.encode_for_text
        for batch, frames, language in _batches(pieces):
            sounds = [pieces[place].sound for place in batch]
            states_BTD = np.stack([self._encode(sound, frames, encode) for sound in sounds])
            spoken = self._decode(states_BTD, sounds, language)
            likely = self._network.language_probabilities(states_BTD, language)
            for place, sound, tokens, probability in zip(batch, sounds, spoken, likely, strict=True):
                if frames < CONTEXT_FRAMES and is_doubtful(tokens):
                    [tokens] = self._decode(self._encode(sound, CONTEXT_FRAMES, encode)[None], [sound], language)
                heard[place] = Heard(self._network.text(tokens).strip(), None, probability)
        remaining = iter(heard)
        return [_joined(list(islice(remaining, len(row)))) for row in cut]

    def _shown(self, sound: Waveform) -> int:
        """States of the window that features are made in."""
        return CONTEXT_FRAMES if self.context == "full" else window_samples(len(sound)) // FRAME_SAMPLES

    def _in_full(self, states_TD: States, sound: Waveform) -> States:
        """The states over 30 seconds, for a transcript that is doubtful: another pass if these are of fewer."""
        if len(states_TD) == CONTEXT_FRAMES:
            return states_TD
        return self._encode(sound, CONTEXT_FRAMES, self._network.encode_for_text)

    def _encode(self, sound: Waveform, frames: int, encode: Callable[[Mel], States]) -> States:
        """Run one encoder pass over a window of so many states."""
        mel_MN = log_mel(sound, window_samples=frames * FRAME_SAMPLES, band_count=self._network.band_count)
        self.encoder_passes += 1
        return encode(mel_MN)

    def _utterances(self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None) -> list[_Utterance]:
        """Each waveform with Whisper's code of its language."""
        codes = [self.language] * len(waveforms_16k) if languages is None else [*map(whisper_code, languages)]
        return [_Utterance(as_float32(sound), code) for sound, code in zip(waveforms_16k, codes, strict=True)]

    def _decode(self, states_BTD: States, sounds: Sequence[Waveform], language: str) -> list[list[int]]:
        """Decode utterances of one window, each to at most the tokens that its own length can hold."""
        limits = [TOKENS_AT_LEAST + TOKENS_PER_SECOND * len(sound) // SAMPLE_RATE_HZ for sound in sounds]
        spoken = self._network.decode(states_BTD, max(limits), self._prompt(language))
        # Cut afterwards, so that a neighbour's length decides nothing.
        return [tokens[:limit] for tokens, limit in zip(spoken, limits, strict=True)]


def _features(states_TD: States, sound: Waveform) -> np.ndarray:
    """The states that belong to the sound itself, as they are stored."""
    features_TD: np.ndarray = states_TD[: feature_frames(len(sound))].astype(np.float16)
    return features_TD


def _joined(pieces: Sequence[Heard]) -> Heard:
    """One utterance that was cut: all its words, and the language of its most doubtful piece."""
    known = [piece.language_probability for piece in pieces if piece.language_probability is not None]
    return Heard(" ".join(piece.text for piece in pieces if piece.text), None, min(known, default=None))


def _batches(utterances: Sequence[_Utterance]) -> Iterator[tuple[list[int], int, str]]:
    """Group utterances by window and language, in order, a few at a time: (places, states of the window, language)."""
    alike: dict[tuple[int, str], list[int]] = defaultdict(list)
    for place, one in enumerate(utterances):
        alike[window_samples(len(one.sound)), one.language].append(place)
    for samples, language in sorted(alike):
        same, frames = alike[samples, language], samples // FRAME_SAMPLES
        count = max(1, DECODE_STATES // frames)
        for first in range(0, len(same), count):
            yield same[first : first + count], frames, language
