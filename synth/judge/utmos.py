"""How listeners would rate the sound: UTMOS, from an ONNX file that the user names.

Source: UTMOS22 strong (https://arxiv.org/abs/2204.02152, https://github.com/sarulab-speech/UTMOS22, MIT), as exported
to ONNX in the form of https://huggingface.co/TigreGotico/utmos-onnx: one input, waveforms (batch, samples) as float32
at 16 kHz, and one output, a score for each on the scale from 1 to 5. TorchScript exports are not taken: they hold
pickles.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anytalk.synth.audio import Waveform, as_float32
from anytalk.synth.batch import run_good
from anytalk.synth.device import resolve
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.onnx import onnx_fingerprint, open_session

from .contract import SAMPLE_RATE_HZ, JudgeEngine, check_judged

SHORTEST_SAMPLES = SAMPLE_RATE_HZ
"""Shorter utterances are filled up with silence: the network's convolutions need some tenths of a second."""

FORM = "name its ONNX file, or a folder with one: utmos:FILE.onnx"


class Utmos:
    """Implements `Mos`.

    Args:
        path: the ONNX file, or a folder that holds one.
        threads: of one call.
        device: see `synth.device.resolve`.

    Raises:
        SetupError: there is no such file, it is no such network, or it cannot run on the device.
    """

    def __init__(self, path: str | Path, threads: int = 1, device: str = "cpu") -> None:
        self._path, self._threads = _file(Path(path)), threads
        self._device = resolve(device, "onnxruntime")
        self._session = open_session(self._path, threads, self._device)
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        if len(taken) != 1 or len(taken[0].shape) != 2 or taken[0].type != "tensor(float)" or len(given) != 1:
            shapes = ", ".join(f"{each.name} {each.shape} {each.type}" for each in taken)
            raise SetupError(
                f"UTMOS {self._path} takes {shapes} and gives {len(given)} outputs; it must take one input, waveforms "
                "(batch, samples) of float32 at 16 kHz, and give one score for each"
            )
        self._input = taken[0].name
        [silence] = self.score([np.zeros(SHORTEST_SAMPLES, np.float32)])
        if isinstance(silence, SampleError):
            raise SetupError(f"UTMOS {self._path} gives no score: {silence.detail}")

    @property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, threads, GPU."""
        return {"model": "utmos", **onnx_fingerprint(self._path, self._threads, self._device)}

    def score(self, waveforms_16k: Sequence[Waveform]) -> list[float | SampleError]:
        """See `Mos.score`. An utterance is scored alone: the network has no mask for padding."""
        return run_good([*map(as_float32, waveforms_16k)], check_judged, lambda good: [*map(self._score, good)])

    def _score(self, waveform: Waveform) -> float | SampleError:
        filled = np.pad(waveform, (0, max(0, SHORTEST_SAMPLES - len(waveform)))).astype(np.float32)
        scores = np.asarray(self._session.run(None, {self._input: filled[None]})[0])
        if scores.size != 1 or not np.isfinite(scores).all():
            return SampleError("unscored", f"UTMOS gave {scores.size} numbers, {scores.reshape(-1)[:3].tolist()}")
        return float(scores.reshape(-1)[0])


def _file(path: Path) -> Path:
    """The ONNX file that is meant."""
    if path.is_dir():
        found = sorted(path.glob("*.onnx"))
        if len(found) != 1:
            raise SetupError(f"UTMOS: the folder {path} holds {len(found)} ONNX files; {FORM}")
        return found[0]
    if not path.is_file():
        raise SetupError(f"UTMOS: {path} does not exist; {FORM}")
    if path.suffix != ".onnx":
        raise SetupError(f"UTMOS: {path} is no ONNX file; {FORM}")
    return path


def _load(name: str, device: str) -> Utmos:
    _, _, path = name.partition(":")
    if not path:
        raise SetupError(f"the judge {name!r} comes with no weights; {FORM}")
    return Utmos(path, device=device)


def _known() -> list[EngineInfo]:
    return [EngineInfo("utmos", "utmos", "MIT", "UTMOS22 strong, from an ONNX file of yours", installed=False)]


ENGINE = JudgeEngine(mos=_load, known=_known)
