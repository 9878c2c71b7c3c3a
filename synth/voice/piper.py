"""Piper: VITS voices as ONNX files, in many languages; here with noise that follows a seed.

Source: https://github.com/OHF-Voice/piper1-gpl (piper-tts 1.8.0), GPL-3.0-or-later. It embeds its own
espeak-ng for phonemes.

A Piper graph draws its noise inside, in two RandomNormalLike nodes: one varies the durations, one the sound.
ONNX gives such a node a seed only as an attribute, fixed when the session is built, and onnxruntime then
goes on drawing from a state that lives with the session: what a text sounds like would hang on what was said
before it, in this process, and a resumed or distributed build would write other bytes. So the graph is
changed in memory before it is loaded: the noise becomes an input, filled from numpy's generator and the
request's seed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from piper import PiperVoice as PiperEngine
from piper.config import PhonemeType, PiperConfig

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError, SetupError

from .fingerprint import fingerprint
from .request import SpeakRequest, engine_speed, speak_each

ENGINE_LICENCE = "GPL-3.0-or-later"

SPEAKABLE_TYPES = (PhonemeType.ESPEAK, PhonemeType.TEXT)
"""The other phonemisers need more packages, or download their model."""

RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)

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
        licence: the voice's own licence.

    Raises:
        SetupError: if a file is missing, or is not a Piper voice that can be seeded.
    """

    def __init__(self, name: str, model: Path, licence: str) -> None:
        self.name = name
        self.licence = f"{licence} (voice), {ENGINE_LICENCE} (engine)"
        self._sources = (model, Path(f"{model}.json"))
        for source in self._sources:
            if not source.is_file():
                raise SetupError(f"the voice {name} needs the file {source}, which is not there")
        self.language, config = _read_config(name, self._sources[1])
        self.sample_rate_hz = config.sample_rate
        graph = onnx.load(model)
        self._noise_names = _take_noise_from_inputs(name, graph)
        # The engine serves for text, phonemes and ids; the session is this module's own.
        self._engine = PiperEngine(session=_session(graph), config=config)

    @property
    def fingerprint(self) -> str:
        """See `Voice.fingerprint`."""
        return fingerprint("piper-tts", *self._sources)

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
        for noise_name in self._noise_names:
            inputs[noise_name] = rng.standard_normal(frames * LATENT_CHANNELS, np.float32)
        if config.num_speakers > 1:
            inputs["sid"] = np.array([config.default_speaker_id], np.int64)
        audio: Waveform = self._engine.session.run(None, inputs)[0]
        return audio.reshape(-1)


def _read_config(name: str, path: Path) -> tuple[str, PiperConfig]:
    """The voice's language, BCP-47, and its configuration."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        config = PiperConfig.from_dict(fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"{path} is not the configuration of a Piper voice ({error!r})") from error
    if config.phoneme_type not in SPEAKABLE_TYPES:
        raise SetupError(
            f"the voice {name} takes its phonemes from {config.phoneme_type.value!r}; only voices of type "
            f"{' and '.join(kind.value for kind in SPEAKABLE_TYPES)} are supported"
        )
    code = fields.get("language", {}).get("code") or config.espeak_voice
    language, _, region = code.replace("_", "-").partition("-")
    return (f"{language.lower()}-{region.upper()}" if region else language.lower()), config


def _take_noise_from_inputs(name: str, model: onnx.ModelProto) -> list[str]:
    """Feed every RandomNormalLike node from a new input; return the inputs' names.

    An input holds more values than the node needs: how many that is, the graph only knows once it has
    predicted the durations. Its first values are taken and shaped like the tensor that the node imitates.
    Should they ever not suffice, they start again from the first.
    """
    graph = model.graph
    random = [node for node in graph.node if node.op_type in RANDOM_OPS]
    if len(random) != 2 or any(node.op_type != "RandomNormalLike" or _is_shifted(node) for node in random):
        kinds = ", ".join(node.op_type for node in random) or "none"
        raise SetupError(
            f"the voice {name} does not draw its noise like a Piper voice (two RandomNormalLike; "
            f"found {kinds}), so it cannot be seeded"
        )
    nodes: list[onnx.NodeProto] = []
    inputs: list[str] = []
    for node in graph.node:
        if node.op_type == "RandomNormalLike":
            inputs.append(f"noise_{len(inputs)}")
            nodes += _read_noise(inputs[-1], node.input[0], node.output[0])
        else:
            nodes.append(node)
    constants = {"noise_zero": 0, "noise_one": 1}
    graph.initializer.extend(
        helper.make_tensor(key, TensorProto.INT64, [], [value]) for key, value in constants.items()
    )
    graph.input.extend(helper.make_tensor_value_info(key, TensorProto.FLOAT, ["values"]) for key in inputs)
    del graph.node[:]
    graph.node.extend(nodes)
    return inputs


def _is_shifted(node: onnx.NodeProto) -> bool:
    """Whether a node draws anything but standard normal float32."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return (values.get("mean", 0.0), values.get("scale", 1.0), values.get("dtype", 1)) != (
        0.0,
        1.0,
        TensorProto.FLOAT,
    )


def _read_noise(noise: str, like: str, output: str) -> list[onnx.NodeProto]:
    """Nodes that compute output = noise[arange(like.size) % noise.size].reshape(like.shape)."""
    return [
        helper.make_node("Shape", [like], [f"{noise}_shape"]),
        helper.make_node("ReduceProd", [f"{noise}_shape"], [f"{noise}_needed"], keepdims=0),
        helper.make_node("Range", ["noise_zero", f"{noise}_needed", "noise_one"], [f"{noise}_positions"]),
        helper.make_node("Size", [noise], [f"{noise}_size"]),
        helper.make_node("Mod", [f"{noise}_positions", f"{noise}_size"], [f"{noise}_indices"]),
        helper.make_node("Gather", [noise, f"{noise}_indices"], [f"{noise}_values"], axis=0),
        helper.make_node("Reshape", [f"{noise}_values", f"{noise}_shape"], [output]),
    ]


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread: sums then have one order, and a cluster counts on one core a voice.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
