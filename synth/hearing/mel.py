"""Whisper's log-mel spectrogram, without torch and without computing the silence that pads it.

Source: `log_mel_spectrogram(pad_or_trim(audio))` in https://github.com/openai/whisper (whisper/audio.py, v20250625);
the filters are librosa's `filters.mel` with Slaney's scale and norm
(https://librosa.org/doc/latest/generated/librosa.filters.mel.html). Differences to the original stay below 5e-5, the
rounding of a float32 FFT.

Shapes: M = mel bands, F = FFT bins (201), N = mel frames of 10 ms.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform

from .contract import SAMPLE_RATE_HZ

FFT_SAMPLES = 400
HOP_SAMPLES = 160
_EDGE_SAMPLES = FFT_SAMPLES // 2  # a frame is centred on its hop, so the ends are mirrored by half a frame
_SILENCE = np.float32(-10.0)  # log10 of the floor of 1e-10 under every band


def log_mel(waveform_16k: Waveform, *, window_samples: int, band_count: int) -> NDArray[np.float32]:
    """Compute the log-mel spectrogram of a waveform padded with zeros, or cut, to a window.

    Args:
        waveform_16k: float32, mono, at 16 kHz.
        window_samples: length of the window, a multiple of 160; 480,000 for Whisper's own 30 seconds.
        band_count: M, 80 or, for large-v3, 128.

    Returns:
        float32 of shape (M, window_samples // 160).
    """
    frame_count = window_samples // HOP_SAMPLES
    # Frames past this one lie wholly in the padding and hold the floor: they are filled, not computed.
    sounding_count = min(frame_count, -(-(len(waveform_16k) + _EDGE_SAMPLES) // HOP_SAMPLES))
    sounding_count = max(sounding_count, 2)
    power_NF = _power(waveform_16k, sounding_count, window_samples)
    bands_MN = _filters(band_count) @ np.ascontiguousarray(power_NF.T)
    log_MN = np.log10(np.maximum(bands_MN, np.float32(1e-10)))
    peak = log_MN.max() if sounding_count == frame_count else max(log_MN.max(), _SILENCE)
    floor = np.float32(peak - np.float32(8.0))
    mel_MN = np.full((band_count, frame_count), (max(_SILENCE, floor) + 4) / 4, dtype=np.float32)
    mel_MN[:, :sounding_count] = (np.maximum(log_MN, floor) + 4) / 4
    return mel_MN


def _power(waveform: Waveform, frame_count: int, window_samples: int) -> NDArray[np.float32]:
    """Compute the power spectra (N, F) of the first frames of the padded waveform."""
    reach = min(window_samples, (frame_count - 1) * HOP_SAMPLES + _EDGE_SAMPLES)
    padded = np.zeros(reach, dtype=np.float32)
    padded[: min(reach, len(waveform))] = waveform[:reach]
    padded = np.pad(padded, _EDGE_SAMPLES, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][:frame_count]
    spectra = np.fft.rfft(frames * _hann_window(), axis=-1)
    return np.square(spectra.real) + np.square(spectra.imag)


@cache
def _hann_window() -> NDArray[np.float32]:
    return np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)


@cache
def _filters(band_count: int) -> Any:
    """Build the mel filters (M, F).

    They are sparse: a dense product would cost more and go through a threaded BLAS, whose sums depend on the number of
    threads.
    """
    from scipy.sparse import csr_array  # half a second, which only those wait for who hear

    return csr_array(mel_filters(band_count))


def mel_filters(band_count: int, fft_samples: int = FFT_SAMPLES) -> NDArray[np.float32]:
    """Compute triangular filters of equal area on Slaney's mel scale, for sound at 16 kHz.

    Args:
        band_count: M, 80 or 128 for Whisper.
        fft_samples: length of the transform.

    Returns:
        float32 of shape (M, fft_samples // 2 + 1).
    """
    hz_per_mel, knee_hz = 200.0 / 3, 1000.0
    knee_mel = knee_hz / hz_per_mel
    top_mel = knee_mel + np.log(SAMPLE_RATE_HZ / 2 / knee_hz) / (np.log(6.4) / 27)
    mels = np.linspace(0.0, top_mel, band_count + 2)
    above = knee_hz * np.exp(np.log(6.4) / 27 * (mels - knee_mel))
    edges_hz = np.where(mels < knee_mel, mels * hz_per_mel, above)
    bins_hz = np.fft.rfftfreq(fft_samples, 1 / SAMPLE_RATE_HZ)
    rising = (bins_hz - edges_hz[:-2, None]) / (edges_hz[1:-1] - edges_hz[:-2])[:, None]
    falling = (edges_hz[2:, None] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    areas = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return (triangles * areas[:, None]).astype(np.float32)
