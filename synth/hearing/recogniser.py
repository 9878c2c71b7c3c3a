"""The recogniser: what is the same whichever engine runs the network.

On a CPU an encoder pass takes one utterance: on one core a batch is slower (the activations leave the cache), and
alone its states cannot depend on its neighbours. Decoding reads all weights once a token, so there utterances of one
window and one language share a batch. On a GPU utterances of one window share both, whatever their languages, and the
states stay there in between.

Shapes: B = batch, M = mel bands, N = mel frames of 10 ms, T = states of 20 ms, D = width.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeAlias

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

TOKENS_PER_SECOND = 25  # twice fast English, and room for scripts that take several tokens a letter
TOKENS_AT_LEAST = 12

Mel = NDArray[np.float32]
States: TypeAlias = Any
"""Encoder states (B, T, D): a float32 array, or a tensor on the device where the engine computes."""


@dataclass(frozen=True)
class Batching:
    """What goes through an engine at once.

    Attributes:
        states: encoder states of a batch, at most.
        together: whether the encoder takes a batch in one pass, and the decoder several languages.
    """

    states: int
    together: bool


ON_CPU = Batching(6_400, together=False)
"""16 utterances of 8 s or 4 of 30 s are decoded at once; for `small` that is half a gigabyte of keys and values."""
ON_GPU = Batching(48_000, together=True)
"""120 utterances of 8 s or 32 of 30 s; for `large-v3` in half precision 8 GB of keys and values."""


def batching_on(device: str) -> Batching:
    """Choose what suits a device, as `synth.device.resolve` gives it."""
    return ON_CPU if device == "cpu" else ON_GPU


class Network(Protocol):
    """An engine with weights in it: the encoder, and greedy decoding of text without timestamps."""

    @property
    def batching(self) -> Batching:
        """What goes through it at once."""

    @property
    def band_count(self) -> int:
        """M, mel bands that the encoder takes."""

    @property
    def width(self) -> int:
        """D, width of the encoder's states."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, compute type, threads, GPU."""

    def encode(self, mels_BMN: Mel) -> States:
        """Run the encoder on spectrograms of at most 3,000 frames: (B, N // 2, D).

        Where `batching` is not together, each goes through alone.
        """

    def encode_for_text(self, mels_BMN: Mel) -> States:
        """Do the same where only a transcript is wanted, and a cheaper arithmetic will do."""

    def prompt(self, language: str) -> list[int]:
        """Ids that ask for a transcript in a language, a Whisper code; as many for each language.

        Raises:
            SetupError: the model does not know it.
        """

    def language_probabilities(self, states_BTD: States, languages: Sequence[str]) -> list[float | None]:
        """How likely each of a batch is in its language (Whisper code), of all that are known; None for English alone.

        Where `batching` is not together, the languages are the same one.
        """

    def decode(self, states_BTD: States, token_limit: int, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Decode a batch greedily, each after its prompt: the ids of the text alone, at most `token_limit` each."""

    def text(self, tokens: Sequence[int]) -> str:
        """Turn ids into text."""


class _Utterance(NamedTuple):
    """A waveform at 16 kHz, and Whisper's code of its language."""

    sound: Waveform
    language: str


class _Batch(NamedTuple):
    """Utterances of one window: their places, and the states of the window."""

    places: list[int]
    frames: int


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
        for batch in self._batches(utterances, self._shown):
            some = [utterances[place] for place in batch.places]
            states_BTD = self._encode(some, self._shown(batch.frames), self._network.encode)
            features = _stored(states_BTD, some)
            spoken, likely = self._transcripts(states_BTD, batch.frames, some)
            for place, tokens, features_TD, probability in zip(batch.places, spoken, features, likely, strict=True):
                heard[place] = Heard(self._network.text(tokens).strip(), features_TD, probability)
        return heard

    def _features(self, sounds: Sequence[Waveform]) -> list[np.ndarray]:
        """Features of waveforms that fit into the context; one that comes several times is encoded once."""
        names = [sound.tobytes() for sound in sounds]
        different = dict(zip(names, sounds, strict=True))
        utterances = [_Utterance(sound, self.language) for sound in different.values()]
        features: list[np.ndarray] = [np.empty(0)] * len(utterances)
        for batch in self._batches(utterances, self._shown):
            some = [utterances[place] for place in batch.places]
            states_BTD = self._encode(some, self._shown(batch.frames), self._network.encode)
            for place, features_TD in zip(batch.places, _stored(states_BTD, some), strict=True):
                features[place] = features_TD
        encoded = dict(zip(different, features, strict=True))
        return [encoded[name] for name in names]

    def _transcribe(self, utterances: Sequence[_Utterance]) -> list[Heard]:
        """Transcripts of utterances of any length."""
        cut = [[_Utterance(piece, one.language) for piece in cut_long(one.sound)] for one in utterances]
        pieces = [piece for row in cut for piece in row]
        heard = [Heard("")] * len(pieces)
        for batch in self._batches(pieces, lambda frames: frames):
            some = [pieces[place] for place in batch.places]
            states_BTD = self._encode(some, batch.frames, self._network.encode_for_text)
            spoken, likely = self._transcripts(states_BTD, batch.frames, some)
            for place, tokens, probability in zip(batch.places, spoken, likely, strict=True):
                heard[place] = Heard(self._network.text(tokens).strip(), None, probability)
        remaining = iter(heard)
        return [_joined(list(islice(remaining, len(row)))) for row in cut]

    def _shown(self, frames: int) -> int:
        """States of the pass that features are made in, by those of the window that the decoder sees."""
        return CONTEXT_FRAMES if self.context == "full" else frames

    def _transcripts(
        self, states_BTD: States, frames: int, utterances: Sequence[_Utterance]
    ) -> tuple[list[list[int]], list[float | None]]:
        """Tokens and languages of utterances by the first states of each; in full where that is doubtful."""
        shown_BTD = states_BTD[:, :frames]
        spoken = self._decode(shown_BTD, utterances)
        likely = self._network.language_probabilities(shown_BTD, [one.language for one in utterances])
        doubtful = [row for row, tokens in enumerate(spoken) if frames < CONTEXT_FRAMES and is_doubtful(tokens)]
        batching = self._network.batching
        for rows in _cut(doubtful, batching.states // CONTEXT_FRAMES if batching.together else 1):
            some = [utterances[row] for row in rows]
            if states_BTD.shape[1] == CONTEXT_FRAMES:
                full_BTD = states_BTD[rows]
            else:
                full_BTD = self._encode(some, CONTEXT_FRAMES, self._network.encode_for_text)
            for row, tokens in zip(rows, self._decode(full_BTD, some), strict=True):
                spoken[row] = tokens
        return spoken, likely

    def _encode(self, utterances: Sequence[_Utterance], frames: int, encode: Callable[[Mel], States]) -> States:
        """Run utterances through the encoder, each in a window of so many states."""
        window_samples, bands = frames * FRAME_SAMPLES, self._network.band_count
        mels = [log_mel(one.sound, window_samples=window_samples, band_count=bands) for one in utterances]
        self.encoder_passes += len(mels)
        return encode(np.stack(mels))

    def _utterances(self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None) -> list[_Utterance]:
        """Each waveform with Whisper's code of its language."""
        codes = [self.language] * len(waveforms_16k) if languages is None else [*map(whisper_code, languages)]
        return [_Utterance(as_float32(sound), code) for sound, code in zip(waveforms_16k, codes, strict=True)]

    def _decode(self, states_BTD: States, utterances: Sequence[_Utterance]) -> list[list[int]]:
        """Decode utterances of one window, each to at most the tokens that its own length can hold."""
        limits = [TOKENS_AT_LEAST + TOKENS_PER_SECOND * len(one.sound) // SAMPLE_RATE_HZ for one in utterances]
        spoken = self._network.decode(states_BTD, max(limits), [self._prompt(one.language) for one in utterances])
        # Cut afterwards, so that a neighbour's length decides nothing.
        return [tokens[:limit] for tokens, limit in zip(spoken, limits, strict=True)]

    def _batches(self, utterances: Sequence[_Utterance], passed: Callable[[int], int]) -> Iterator[_Batch]:
        """Group utterances by window, and where they are not together by language, in order, a few at a time.

        Args:
            utterances: what is grouped.
            passed: states of the encoder's pass, by those of the window.
        """
        batching = self._network.batching
        alike: dict[tuple[int, str], list[int]] = defaultdict(list)
        for place, one in enumerate(utterances):
            alike[window_samples(len(one.sound)), "" if batching.together else one.language].append(place)
        for samples, language in sorted(alike):
            frames = samples // FRAME_SAMPLES
            # Where utterances pass the encoder alone, only what is decoded is large.
            states = passed(frames) if batching.together else frames
            for places in _cut(alike[samples, language], max(1, batching.states // states)):
                yield _Batch(places, frames)


def _stored(states_BTD: States, utterances: Sequence[_Utterance]) -> list[NDArray[np.float16]]:
    """The states that belong to each sound itself, as they are stored."""
    counts = [feature_frames(len(one.sound)) for one in utterances]
    kept_BTD = states_BTD[:, : max(counts)]
    on_cpu = kept_BTD if isinstance(kept_BTD, np.ndarray) else kept_BTD.half().cpu().numpy()
    return [states_TD[:count].astype(np.float16) for states_TD, count in zip(on_cpu, counts, strict=True)]


def _cut(places: list[int], count: int) -> Iterator[list[int]]:
    """Places in groups of at most so many."""
    for first in range(0, len(places), count):
        yield places[first : first + count]


def _joined(pieces: Sequence[Heard]) -> Heard:
    """One utterance that was cut: all its words, and the language of its most doubtful piece."""
    known = [piece.language_probability for piece in pieces if piece.language_probability is not None]
    return Heard(" ".join(piece.text for piece in pieces if piece.text), None, min(known, default=None))
