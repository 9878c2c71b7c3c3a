"""Who speaks: the voice of an utterance as a vector, by a speaker network in an ONNX file that the user names.

Networks of two kinds are known by their input: one that takes waveforms (B, samples), as ReDimNet and ECAPA are
exported with their own features; and one that takes Kaldi's filter banks (B, N, 80), as WeSpeaker exports its models
(https://github.com/wenet-e2e/wespeaker, `wespeaker/bin/infer_onnx.py`: 25 ms every 10 ms under a Hamming window, no
dither, on the scale of 16-bit samples, less the mean over time).

Shapes: B = 1 utterance, N = frames of 10 ms, M = 80 mel bands, D = width of the vector.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform
from anytalk.synth.device import resolve
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.onnx import onnx_fingerprint, open_session
from anytalk.synth.remote import brought

from .contract import SAMPLE_RATE_HZ

FRAME_SAMPLES, HOP_SAMPLES, FFT_SAMPLES, BAND_COUNT = 400, 160, 512, 80


class SpeakerNetwork:
    """Turns utterances into vectors that lie close together where one person speaks.

    Args:
        path: the ONNX file, or its URL.
        threads: of one call.
        device: see `synth.device.resolve`.

    Raises:
        SetupError: there is no such file, it is no such network, or it cannot run on the device.
    """

    def __init__(self, path: str | Path, threads: int = 1, device: str = "cpu") -> None:
        self._path, self._threads = Path(brought(str(path))), threads
        self._device = resolve(device, "onnxruntime")
        if not self._path.is_file():
            raise SetupError(f"speaker network {path} does not exist; name an ONNX file")
        self._session = open_session(self._path, threads, self._device)
        [taken, *others] = self._session.get_inputs()
        self._takes_bands = len(taken.shape) == 3
        if others or len(taken.shape) not in (2, 3) or (self._takes_bands and taken.shape[2] not in (BAND_COUNT, None)):
            shapes = ", ".join(f"{each.name} {each.shape}" for each in (taken, *others))
            raise SetupError(
                f"speaker network {path} takes {shapes}; it must take one input, waveforms (batch, samples) at 16 kHz "
                f"or filter banks (batch, frames, {BAND_COUNT})"
            )
        self._input = taken.name

    @property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, threads, GPU."""
        return onnx_fingerprint(self._path, self._threads, self._device)

    def embed(self, waveform_16k: Waveform) -> NDArray[np.float32]:
        """Give the vector of an utterance.

        Args:
            waveform_16k: float32, mono, at 16 kHz; one shorter than a frame of 25 ms is taken with silence after it.

        Returns:
            float32 of shape (D,), of length 1.
        """
        sound = np.pad(waveform_16k, (0, max(0, FRAME_SAMPLES - len(waveform_16k))))
        given = kaldi_bands(sound) if self._takes_bands else sound
        vector: NDArray[np.float32] = np.asarray(self._session.run(None, {self._input: given[None]})[0]).reshape(-1)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


def similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Compare two voices: the cosine between their vectors, -1 to 1."""
    return float(one @ other)


def kaldi_bands(waveform_16k: Waveform) -> NDArray[np.float32]:
    """Compute Kaldi's log filter banks, less their mean over time.

    Args:
        waveform_16k: float32 of at least 400 samples.

    Returns:
        float32 of shape (N, M) = (1 + (samples - 400) // 160, 80).
    """
    from transformers.audio_utils import spectrogram  # mimics Kaldi in numpy; imported here, for few need it

    filters_FM, window = _kaldi_filters()
    bands_MN: Any = spectrogram(
        waveform_16k * np.float32(2**15),
        window,
        frame_length=FRAME_SAMPLES,
        hop_length=HOP_SAMPLES,
        fft_length=FFT_SAMPLES,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters_FM,
        log_mel="log",
        mel_floor=float(np.finfo(np.float32).eps),
        remove_dc_offset=True,
    )
    return np.ascontiguousarray((bands_MN - bands_MN.mean(axis=1, keepdims=True)).T, np.float32)


@cache
def _kaldi_filters() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from transformers.audio_utils import mel_filter_bank, window_function

    filters_FM = mel_filter_bank(
        num_frequency_bins=FFT_SAMPLES // 2 + 1,
        num_mel_filters=BAND_COUNT,
        min_frequency=20,
        max_frequency=SAMPLE_RATE_HZ // 2,
        sampling_rate=SAMPLE_RATE_HZ,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return filters_FM, window_function(FRAME_SAMPLES, "hamming", periodic=False)
