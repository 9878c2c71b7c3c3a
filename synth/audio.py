"""Waveforms: reading any file, writing FLAC, rate, loudness and silence.

A `Waveform` is mono float32 of shape (samples,), nominally in [-1, 1]. Resampling and decoding may overshoot
a little; nothing here clips except `flac_bytes`, whose 16 bits have no room above full scale.

Loudness follows ITU-R BS.1770-4 as implemented by pyloudnorm.
"""

import io
import warnings
from contextlib import closing
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from .errors import SampleError
from .recording import ChannelChoice, chosen, decoded_parts, to_mono

Waveform = NDArray[np.float32]
"""Mono samples of shape (samples,), float32, nominally in [-1, 1]."""

PCM16_SCALE = 2**15
LOUDNESS_BLOCK_S = 0.4
"""Gating block of BS.1770-4, in seconds."""

SILENCE_FRAME_S = 0.01


def check_waveform(waveform: NDArray[Any], *, may_be_empty: bool = False) -> None:
    """Raise unless an array is a usable waveform.

    Args:
        waveform: what should be float32 samples of shape (samples,).
        may_be_empty: whether a waveform without samples will do.

    Raises:
        SampleError: `not_float`, `not_mono`, `empty_audio`, or `nan_audio` for a sample that is not finite.
    """
    if waveform.dtype != np.float32:
        raise SampleError("not_float", f"samples are {waveform.dtype}, not float32")
    if waveform.ndim != 1:
        raise SampleError("not_mono", f"samples have shape {waveform.shape}, not (samples,)")
    if waveform.size == 0 and not may_be_empty:
        raise SampleError("empty_audio", "no samples")
    broken = waveform.size - int(np.count_nonzero(np.isfinite(waveform)))
    if broken:
        raise SampleError("nan_audio", f"{broken} of {waveform.size} samples are not finite")


def as_float32(samples: NDArray[Any]) -> NDArray[Any]:
    """Give floats of any width as float32, so that `check_waveform` takes them; other types come back as they are."""
    if samples.dtype.kind != "f":
        return samples
    with np.errstate(over="ignore"):  # What is too large becomes infinite, and is refused then.
        return samples.astype(np.float32, copy=False)


def read_audio(source: bytes | Path, rate_hz: int, *, max_s: float = 30.0, channel: ChannelChoice = "auto") -> Waveform:
    """Read a recording of any common format as one channel at one rate: all that is in it, or not at all.

    wav, flac, ogg and mp3 are read by libsndfile, m4a and whatever else ffmpeg knows by the binary of the
    `imageio-ffmpeg` wheel, never one of the system. Several recordings that were joined in one file are read one after
    the other. Length is what was decoded, whatever a header claims.

    Args:
        source: the file's content, or its path. The content decides the format, not the name.
        rate_hz: rate of the result.
        max_s: longest recording accepted, in seconds. At most this much, and a little, is ever decoded.
        channel: which one to take. `auto` mixes channels that hold the same, and takes one where mixing would take
            something out; `split` is as `auto` here.

    Returns:
        The waveform at `rate_hz`.

    Raises:
        SampleError: `not_audio`, `undecodable_audio` (a missing file too), `empty_audio`, `nan_audio`, `too_long`;
            `truncated_audio`, `damaged_audio` or `trailing_data` where the file is not what it claims;
            `channels_differ`, or `no_such_channel`.
    """
    pieces: list[tuple[Waveform, int]] = []
    length_s = 0.0
    with closing(decoded_parts(source)) as parts:
        for part in parts:
            blocks: list[NDArray[np.float32]] = []
            for block in part.blocks:
                blocks.append(block)
                length_s += len(block) / part.rate_hz
                # Half a sample at most is lost to sums of fractions.
                if length_s > max_s + 0.5 / part.rate_hz:
                    raise _too_long(f"more than {max_s:g} s", max_s)
            if not blocks:
                continue
            choice = chosen(blocks, part.rate_hz, part.channels, channel)
            mono = np.concatenate([to_mono(block, choice) for block in blocks])
            # Before resampling, which would smear one NaN over its neighbours.
            check_waveform(mono)
            if pieces and pieces[-1][1] == part.rate_hz:
                # Resampled as one, there is no seam.
                mono = np.concatenate([pieces.pop()[0], mono])
            pieces.append((mono, part.rate_hz))
    if not pieces:
        raise SampleError("empty_audio", "the recording holds no samples")
    at_rate = [resample(mono, from_hz, rate_hz) for mono, from_hz in pieces]
    resampled = at_rate[0] if len(at_rate) == 1 else np.concatenate(at_rate)
    check_waveform(resampled)
    return resampled


def flac_bytes(waveform: Waveform, rate_hz: int) -> bytes:
    """Encode a waveform as mono 16-bit FLAC.

    A sample x becomes round(32768 x), halves to even, clipped to [-32768, 32767]: a waveform that was read
    from 16 bits comes back exactly, any other within half a step, and only +1.0 itself loses a whole step.
    The same samples give the same bytes with the same libsndfile.

    Args:
        waveform: samples to store.
        rate_hz: their rate.

    Returns:
        A FLAC file.

    Raises:
        SampleError: if `waveform` is not a usable waveform (`check_waveform`).
    """
    check_waveform(waveform)
    steps = np.rint(waveform * np.float32(PCM16_SCALE))
    pcm = np.clip(steps, -PCM16_SCALE, PCM16_SCALE - 1).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, pcm, rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def resample(waveform: Waveform, from_hz: float, to_hz: float) -> Waveform:
    """Change the rate with soxr's high-quality filter.

    Args:
        waveform: samples at `from_hz`.
        from_hz: their rate.
        to_hz: the rate wanted.

    Returns:
        The waveform at `to_hz`; `waveform` itself where the rates are equal.
    """
    if from_hz == to_hz:
        return waveform
    resampled: Waveform = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    return resampled


def loudness_lufs(waveform: Waveform, rate_hz: int) -> float:
    """Measure integrated loudness.

    Speech shorter than the standard's 400 ms block is measured in one block of its own length.

    Args:
        waveform: samples.
        rate_hz: their rate.

    Returns:
        Loudness in LUFS; minus infinity where every block lies under the standard's gate of -70 LUFS.
    """
    import pyloudnorm  # imports scipy.signal: half a second that readers of audio need not wait

    block_s = min(LOUDNESS_BLOCK_S, len(waveform) / rate_hz)
    meter = pyloudnorm.Meter(rate_hz, block_size=block_s)
    # pyloudnorm filters in place and would keep float32.
    samples = np.asarray(waveform, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        # The mean over no block, when all are under the gate.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        lufs = float(meter.integrated_loudness(samples))
    return lufs if np.isfinite(lufs) else -np.inf


def set_loudness(waveform: Waveform, rate_hz: int, lufs: float, peak_db: float = -1.0) -> Waveform:
    """Scale a waveform to a loudness, or as near as its peak allows.

    One gain for all samples, no limiter: where the gain would lift the peak over `peak_db`, the result is
    quieter than `lufs`. Silence (under -70 LUFS throughout) is returned as it is.

    Args:
        waveform: samples.
        rate_hz: their rate.
        lufs: loudness wanted.
        peak_db: highest sample allowed, in dB of full scale.

    Returns:
        The scaled waveform.
    """
    measured_lufs = loudness_lufs(waveform, rate_hz)
    if measured_lufs == -np.inf:
        return waveform
    peak = float(np.max(np.abs(waveform)))
    gain = min(_ratio(lufs - measured_lufs), _ratio(peak_db) / peak)
    return waveform * np.float32(gain)


def trim_silence(waveform: Waveform, rate_hz: int, keep_s: float, threshold_db: float = -40.0) -> Waveform:
    """Cut what is quiet before the first and after the last sound.

    Quiet is measured in frames of 10 ms against the loudest frame.

    Args:
        waveform: samples.
        rate_hz: their rate.
        keep_s: how much of the quiet to leave at each end, in seconds; nothing is added where there is less.
        threshold_db: a frame this far under the loudest one is quiet; below 0.

    Returns:
        A slice of `waveform`; all of it when it is digital silence.
    """
    frame_samples = round(SILENCE_FRAME_S * rate_hz)
    power = frame_power(waveform, rate_hz)
    loudest = power.max(initial=0.0)
    if loudest == 0.0:
        return waveform
    sounding = np.flatnonzero(power >= loudest * _ratio(threshold_db) ** 2)
    keep_samples = round(keep_s * rate_hz)
    start = max(0, int(sounding[0]) * frame_samples - keep_samples)
    end = (int(sounding[-1]) + 1) * frame_samples + keep_samples
    return waveform[start:end]


def frame_power(waveform: Waveform, rate_hz: int) -> NDArray[np.float64]:
    """Mean square of each frame of 10 ms; the last one is filled up with silence.

    Args:
        waveform: samples.
        rate_hz: their rate.

    Returns:
        One value a frame.
    """
    frame_samples = round(SILENCE_FRAME_S * rate_hz)
    frames = ceil(len(waveform) / frame_samples)
    padded = np.zeros(frames * frame_samples, np.float64)
    padded[: len(waveform)] = waveform
    power: NDArray[np.float64] = np.square(padded).reshape(frames, frame_samples).mean(axis=1)
    return power


def _ratio(level_db: float) -> float:
    """Amplitude ratio of a level in dB."""
    return float(10.0 ** (level_db / 20.0))


def _too_long(found: str, max_s: float) -> SampleError:
    return SampleError("too_long", f"the recording lasts {found}; the limit is {max_s:g} s")
