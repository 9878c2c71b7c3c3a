"""Kokoro-82M in process: over fifty voices at 24 kHz, from ONNX files on this disk or from the hub.

Source: https://github.com/thewh1teagle/kokoro-onnx (kokoro-onnx 0.6.1, MIT), whose text front end is used; weights
https://huggingface.co/hexgrad/Kokoro-82M (Apache-2.0). Phonemes come from espeak-ng (GPL-3.0-or-later).

The front end knows espeak-ng's languages only; Kokoro's own reads English, Japanese and Mandarin better
(https://github.com/hexgrad/misaki), and wants spaCy and downloads of its own.
"""

import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform
from anytalk.synth.device import gpu_fingerprint, resolve
from anytalk.synth.errors import SampleError, SetupError, near_matches
from anytalk.synth.fingerprint import Fingerprint, file_sha256
from anytalk.synth.onnx import open_session
from anytalk.synth.remote import hub_folder

from .engine import Servers, VoiceEngine, require
from .request import SpeakRequest, speak_each, voice_fingerprint
from .terms import KOKORO

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from .noise import Noise

ENGINE_LICENCE = "GPL-3.0-or-later"

MODULES = ("kokoro_onnx", "onnx", "espeakng_loader")

LANGUAGES = {
    "a": "en-US",
    "b": "en-GB",
    "e": "es",
    "f": "fr-FR",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-BR",
    "z": "cmn",
}
"""By the first letter of a voice's name. Source: https://huggingface.co/hexgrad/Kokoro-82M/blob/main/VOICES.md"""

ESPEAK_LANGUAGES = {
    "en-US": "en-us",
    "en-GB": "en-gb",
    "es": "es",
    "fr-FR": "fr-fr",
    "hi": "hi",
    "it": "it",
    "ja": "ja",
    "pt-BR": "pt-br",
    "cmn": "cmn",
}
"""espeak-ng's names of the languages."""

NOISE_VALUES = 2**20
"""Noise drawn for a piece. Where a node takes more, it starts again: after seconds, too late to be heard as a tone."""

TOKEN_INPUTS = ("input_ids", "tokens")
"""The newer and the older name of the graph's first input."""


class KokoroNetwork:
    """Kokoro's graph on one thread or a GPU, shared by all voices of a process: a session holds 330 MB of weights.

    Attributes:
        tokens: name of its input for phonemes.
        noises: its inputs for noise.
        session: runs it; several threads may at once.
    """

    def __init__(self, weights: Path, device: str) -> None:
        import onnx

        from .noise import take_noise_from_inputs

        graph = onnx.load(weights)
        self.tokens = _tokens_input(weights, graph)
        try:
            self.noises: Sequence[Noise] = take_noise_from_inputs(graph)
        except ValueError as error:
            raise SetupError(f"{weights} cannot be seeded: {error}") from error
        self.session: onnxruntime.InferenceSession = open_session(graph.SerializeToString(), device=device)


_networks: weakref.WeakValueDictionary[tuple[str, str], KokoroNetwork] = weakref.WeakValueDictionary()
"""By the file's SHA-256 and the device, as long as a voice needs them."""
_opening = threading.Lock()


def shared_network(weights: Path, device: str) -> KokoroNetwork:
    """Open a graph, or give the one that is open.

    Args:
        weights: the ONNX file.
        device: as `synth.device.resolve` gives it.
    """
    with _opening:
        key = file_sha256(weights), device
        if (network := _networks.get(key)) is None:
            network = _networks[key] = KokoroNetwork(weights, device)
        return network


class KokoroVoice:
    """One voice of Kokoro.

    Args:
        name: the name to go by, such as `kokoro:models/kokoro#af_heart`.
        place: folder with one `.onnx` and one `voices*.bin`, or a hub id whose repository holds them.
        voice: name of the voice, such as `af_heart`.
        device: see `synth.device.resolve`.

    Raises:
        SetupError: files are missing or not Kokoro's, there is no such voice, or it cannot run on the device.
    """

    def __init__(self, name: str, place: str, voice: str, device: str = "cpu") -> None:
        from kokoro_onnx.config import SAMPLE_RATE, EspeakConfig
        from kokoro_onnx.tokenizer import Tokenizer

        self.name = name
        self.sample_rate_hz: int = SAMPLE_RATE
        self.language = kokoro_language(voice)
        self.terms = KOKORO.with_engine(ENGINE_LICENCE)
        self._weights, self._voices = _files(place)
        self._style_NS = _style(self._voices, voice)
        self._device = resolve(device, "onnxruntime")
        self._network = shared_network(self._weights, self._device)
        self._tokenizer = Tokenizer(EspeakConfig(lib_path=_own_espeak()))

    @property
    def fingerprint(self) -> Fingerprint:
        """See `Voice.fingerprint`."""
        files = voice_fingerprint("kokoro-onnx", weights=self._weights, voices=self._voices)
        return {**files, **gpu_fingerprint(self._device)}

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """See `Voice.speak`."""
        return speak_each(requests, self._speak_one, self.sample_rate_hz)

    def _speak_one(self, text: str, seed: int, speed: float) -> Waveform:
        from kokoro_onnx.chunker import split_phonemes
        from kokoro_onnx.config import MAX_PHONEME_LENGTH

        rng = np.random.default_rng(seed)
        phonemes = self._tokenizer.phonemize(text, ESPEAK_LANGUAGES[self.language])
        ids = [self._tokenizer.tokenize(piece) for piece in split_phonemes(phonemes, MAX_PHONEME_LENGTH)]
        spoken = [self._say_ids(piece, speed, rng) for piece in ids if piece]
        return np.concatenate(spoken) if spoken else np.zeros(0, np.float32)

    def _say_ids(self, ids: list[int], speed: float, rng: np.random.Generator) -> Waveform:
        """Run the graph on at most 510 phonemes."""
        inputs: dict[str, NDArray[Any]] = {
            # Both ends are padded, as in training.
            self._network.tokens: np.array([[0, *ids, 0]], np.int64),
            # A style for each length.
            "style": self._style_NS[min(len(ids), len(self._style_NS)) - 1].reshape(1, -1),
            "speed": np.array([speed], np.float32),
        }
        for noise in self._network.noises:
            inputs[noise.name] = noise.draw(rng, NOISE_VALUES)
        audio: Waveform = self._network.session.run(None, inputs)[0]
        return np.asarray(audio, np.float32).reshape(-1)


def _files(place: str) -> tuple[Path, Path]:
    """The graph and the voices of a folder or a hub repository."""
    folder = hub_folder("kokoro", place, ["*.onnx", "voices*.bin"], "kokoro-v1.0.onnx and voices-v1.0.bin")
    graphs, voices = sorted(folder.glob("*.onnx")), sorted(folder.glob("voices*.bin"))
    if len(graphs) != 1 or len(voices) != 1:
        raise SetupError(
            f"kokoro {place!r} must hold one .onnx and one voices*.bin; found {len(graphs)} and {len(voices)}"
        )
    return graphs[0], voices[0]


def _style(path: Path, voice: str) -> NDArray[np.float32]:
    """The styles of a voice, one for each length, shape (510, 256)."""
    try:
        with np.load(path) as voices:
            if voice not in voices:
                raise SetupError(f"{path} has no voice {voice!r}{near_matches(voice, voices)}")
            styles = np.asarray(voices[voice], np.float32)
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} holds no voices of Kokoro ({error})") from error
    return styles.reshape(len(styles), -1)


def _tokens_input(path: Path, graph: "onnx.ModelProto") -> str:
    """Name of the tokens' input: exports differ."""
    from onnx import TensorProto

    types = {each.name: each.type.tensor_type.elem_type for each in graph.graph.input}
    tokens = next((name for name in TOKEN_INPUTS if name in types), None)
    if tokens is None or not {"style", "speed"} <= types.keys():
        raise SetupError(f"{path} is no graph of Kokoro: its inputs are {', '.join(types)}")
    if types["speed"] != TensorProto.FLOAT:
        raise SetupError(f"{path} knows whole speeds only; take an export whose speed is a float")
    return tokens


def _own_espeak() -> str:
    """A copy of espeak-ng's library, so that voices of espeak-ng can go on loading and unloading theirs."""
    import espeakng_loader

    library = Path(espeakng_loader.get_library_path())
    return str(shutil.copy(library, tempfile.mkdtemp(prefix="anytalk-kokoro-")))


def kokoro_language(voice: str) -> str:
    """BCP-47 tag of a voice's language.

    >>> kokoro_language("bm_george")
    'en-GB'

    Raises:
        SetupError: no voice is named so.
    """
    if voice[1:3] not in ("f_", "m_") or voice[0] not in LANGUAGES:
        raise SetupError(f"{voice!r} is no name of a Kokoro voice; they look like af_heart or bm_george")
    return LANGUAGES[voice[0]]


def _load(spec: str, _: Servers, device: str) -> KokoroVoice:
    name = f"kokoro:{spec}"
    place, hash_sign, voice = spec.rpartition("#")
    if not (place and hash_sign and voice):
        raise SetupError(f"the voice {name} must be kokoro:PLACE#VOICE, such as kokoro:models/kokoro#af_heart")
    require(name, "kokoro", MODULES)
    return KokoroVoice(name, place, voice, device)


def _language(spec: str, _: Servers) -> str:
    return kokoro_language(spec.rpartition("#")[2])


ENGINE = VoiceEngine(forms=("kokoro:PLACE#VOICE",), load=_load, language=_language)
