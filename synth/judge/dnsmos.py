"""How listeners would rate the sound: DNSMOS, its ONNX files run directly.

Source: https://github.com/microsoft/DNS-Challenge/tree/master/DNSMOS (CC-BY-4.0; https://arxiv.org/abs/2110.01763), as
packed by the wheel `speechmos` 0.0.1.1 (MIT; `speechmos/dnsmos.py`). That module imports librosa, so its few steps are
done here: the windows, the polynomial, and for the scale P.808 librosa's `feature.melspectrogram` and `power_to_db`
(as of librosa 0.11) with the arguments given there.

Shapes: W = windows, N = frames of 10 ms, F = FFT bins, M = mel bands.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform, as_float32
from anytalk.synth.batch import run_good
from anytalk.synth.device import resolve
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SampleError
from anytalk.synth.extra import are_installed
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.hearing.mel import mel_filters
from anytalk.synth.onnx import onnx_fingerprint, open_session, wheel_file

from .contract import SAMPLE_RATE_HZ, JudgeEngine, check_judged

WINDOW_SAMPLES = int(9.01 * SAMPLE_RATE_HZ)  # 144,160
HOP_SAMPLES = SAMPLE_RATE_HZ

OVERALL_POLYNOMIAL = (-0.06766283, 1.11546468, 0.04602535)
"""From the network's raw OVRL to the scale of ITU-T P.835, highest power first."""

Scale = Literal["p835", "p808"]


class Dnsmos:
    """Implements `Mos`.

    Args:
        scale: `p835`, the overall quality of ITU-T P.835 (`ovrl_mos` in the original), 0.45 s a window on one
            core; or `p808`, the rating of ITU-T P.808 (`p808_mos`), from a network that takes 0.02 s.
        max_windows: the original scores a window every second: eleven of them in 20 seconds, and seven of the
            same second repeated. With a number, at most that many, spread evenly from the first to the last
            (1: the middle one). None for the original's.
        threads: of one call.
        device: see `synth.device.resolve`.
    """

    def __init__(
        self, scale: Scale = "p835", *, max_windows: int | None = None, threads: int = 1, device: str = "cpu"
    ) -> None:
        if scale not in ("p835", "p808"):
            raise ValueError(f"scale must be 'p835' or 'p808'; got {scale!r}")
        if max_windows is not None and max_windows < 1:
            raise ValueError(f"max_windows must be at least 1, or None; got {max_windows}")
        name = "sig_bak_ovr.onnx" if scale == "p835" else "model_v8.onnx"
        self._path = wheel_file("speechmos", f"dnsmos_models/{name}")
        self._device = resolve(device, "onnxruntime")
        self._session = open_session(self._path, threads, self._device)
        self._scale = scale
        self._max_windows = max_windows
        self._threads = threads

    @property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, scale, windows, threads, GPU."""
        return {
            "model": f"dnsmos {self._scale}",
            "max_windows": str(self._max_windows or "all"),
            **onnx_fingerprint(self._path, self._threads, self._device),
        }

    def score(self, waveforms_16k: Sequence[Waveform]) -> list[float | SampleError]:
        """See `Mos.score`. An utterance is scored alone: a batch of windows is no faster on one core."""
        return run_good(
            [*map(as_float32, waveforms_16k)], check_judged, lambda good: [self._score(waveform) for waveform in good]
        )

    def _score(self, waveform: Waveform) -> float:
        windows = scored_windows(waveform, self._max_windows)
        if self._scale == "p808":
            return float(np.mean([self._run(p808_input(window)) for window in windows]))
        # The network gives SIG, BAK and OVRL; only the last is wanted.
        raw = [self._run(window)[0, 2] for window in windows]
        return float(np.mean(np.polyval(OVERALL_POLYNOMIAL, np.asarray(raw, dtype=np.float64))))

    def _run(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._session.run(None, {"input_1": window[None]})[0])


def scored_windows(waveform_16k: Waveform, max_windows: int | None = None) -> list[Waveform]:
    """Cut an utterance into the windows of 9.01 s that the original scores.

    A shorter one is doubled until it is long enough; then a window starts every second as long as it fits.

    Args:
        waveform_16k: float32 at 16 kHz; an empty one is scored as silence.
        max_windows: keep at most so many, spread evenly.

    Returns:
        At least one window of 144,160 samples.
    """
    sound = waveform_16k if len(waveform_16k) else np.zeros(WINDOW_SAMPLES, dtype=np.float32)
    while len(sound) < WINDOW_SAMPLES:
        sound = np.concatenate([sound, sound])
    # Not (len - window) // hop + 1: the original floors the length to seconds first.
    count = int(len(sound) // SAMPLE_RATE_HZ - 9.01) + 1
    starts = [place * HOP_SAMPLES for place in range(count)]
    if max_windows is not None and count > max_windows:
        chosen = np.linspace(0, count - 1, max_windows).round().astype(int) if max_windows > 1 else [count // 2]
        starts = [int(place) * HOP_SAMPLES for place in chosen]
    return [np.ascontiguousarray(sound[start : start + WINDOW_SAMPLES], np.float32) for start in starts]


def p808_input(window: Waveform) -> NDArray[np.float32]:
    """Compute the spectrogram that the P.808 network takes.

    Args:
        window: float32 of shape (144160,).

    Returns:
        float32 of shape (N, M) = (900, 120), decibels under the loudest bin, mapped from -80..0 to -1..1.
    """
    from scipy.fft import rfft  # half a second, which only those wait for who score

    fft_samples, hop_samples, band_count = 321, 160, 120
    # librosa centres frames and pads with zeros; its Hann window is periodic.
    padded = np.pad(window[:-hop_samples], fft_samples // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_samples)[::hop_samples]
    hann = np.hanning(fft_samples + 1)[:-1].astype(np.float32)
    # 321 = 3 * 107: scipy's transform of it takes a quarter of numpy's time.
    power_NF = np.square(np.abs(rfft(frames * hann, axis=-1)))
    mel_NM = power_NF @ mel_filters(band_count, fft_samples).T
    decibels = 10 * np.log10(np.maximum(mel_NM, 1e-10) / max(float(mel_NM.max()), 1e-10))
    return ((np.maximum(decibels, decibels.max() - 80) + 40) / 40).astype(np.float32)


def _load(name: str, device: str) -> Dnsmos:
    return Dnsmos("p835" if name == "p835" else "p808", device=device)


def _known() -> list[EngineInfo]:
    installed = are_installed(["speechmos"])
    return [
        EngineInfo(name, "dnsmos", "MIT", f"DNSMOS on the scale of {scale}", installed=installed)
        for name, scale in (("p808", "ITU-T P.808"), ("p835", "ITU-T P.835"))
    ]


ENGINE = JudgeEngine(mos=_load, known=_known)
