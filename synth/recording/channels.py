"""Which channel of a recording counts, judged over all of it before anything is mixed.

Two channels may be one voice twice (mixing is right), one voice and its inverse (mixing cancels it), a voice and
silence, one voice with a delay (mixing combs it), or two voices (mixing makes neither intelligible).

Shapes: C = channels.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.errors import SampleError

Channel = Literal["left", "right", "mix"]
ChannelChoice = Literal["auto", "left", "right", "mix", "split"]

FRAME_S = 0.02
SILENT_DB = -40.0
"""A channel whose loudest frame is this far under the loudest one of all holds nothing."""
SAME_FROM = 0.5
"""Correlation from which channels are one sound and may be mixed as they are."""
RELATED_FROM = 0.3
"""Correlation, at any delay up to `LAG_S` and of either sign, from which channels hold the same speech."""
LAG_S = 0.02
ALONE_DB = 15.0
ALONE_S = 0.3
"""Where each channel is this much louder than the other for so long, two people talk in turn."""


class ChannelJudge:
    """Gathers what is needed to choose, block by block.

    Args:
        rate_hz: of the recording.
        channels: how many it has.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._frame = max(1, round(FRAME_S * rate_hz))
        self._lags = max(1, round(LAG_S * rate_hz))
        self._rate_hz = rate_hz
        self._powers: list[NDArray[np.float64]] = []
        self._cross = np.zeros((channels, 2 * self._lags + 1))
        self._energy = np.zeros(channels)
        self._channels = channels

    def add(self, samples_TC: NDArray[np.float32]) -> None:
        """Take a block into account."""
        if self._channels == 1 or not len(samples_TC):
            return
        with np.errstate(invalid="ignore"):  # What is no number is refused later.
            samples = np.nan_to_num(samples_TC.astype(np.float64), posinf=0.0, neginf=0.0)
        samples -= samples.mean(axis=0)
        frames = len(samples) // self._frame
        if frames:
            shaped = samples[: frames * self._frame].reshape(frames, self._frame, self._channels)
            self._powers.append(np.square(shaped).mean(axis=1))
        self._energy += np.square(samples).sum(axis=0)
        size = 1 << int(len(samples) + self._lags).bit_length()
        spectra = np.fft.rfft(samples, size, axis=0)
        # Against the first channel: positive lags first, then the negative ones from the end.
        cross = np.fft.irfft(spectra * np.conj(spectra[:, :1]), size, axis=0)
        self._cross += np.concatenate([cross[-self._lags :], cross[: self._lags + 1]]).T

    def choose(self) -> Channel | int:
        """Say what to take: `mix`, or the number of a channel.

        Raises:
            SampleError: `channels_differ`.
        """
        if self._channels == 1:
            return 0
        power = np.concatenate(self._powers) if self._powers else self._energy[np.newaxis]
        loudest = power.max(axis=0)
        sounding = [int(c) for c in np.flatnonzero(loudest > loudest.max() * 10 ** (SILENT_DB / 10))]
        if not sounding or loudest.max() == 0:
            return "mix"
        best = int(np.argmax(self._energy))
        if len(sounding) == 1:
            return sounding[0]
        if self._channels > 2:
            return "mix"
        norm = np.sqrt(self._energy[0] * self._energy[1])
        lags = self._cross[1] / norm
        alone = _alone_s(power)
        if np.max(np.abs(lags)) < RELATED_FROM or min(alone) >= ALONE_S:
            raise SampleError(
                "channels_differ",
                f"two channels with different speech (correlation {np.max(np.abs(lags)):.2f}, alone for "
                f"{alone[0]:.1f} s and {alone[1]:.1f} s); set channel to left, right, split or mix",
            )
        # One sound, but for its sign or a delay: mixing would take something out of it.
        return "mix" if lags[self._lags] >= SAME_FROM else best


def _alone_s(power: NDArray[np.float64]) -> tuple[float, float]:
    """How long each of two channels sounds while the other is much quieter."""
    floor = power.max() * 10 ** (-30 / 10)
    ratio = 10 ** (ALONE_DB / 10)
    left = (power[:, 0] > floor) & (power[:, 0] > ratio * power[:, 1])
    right = (power[:, 1] > floor) & (power[:, 1] > ratio * power[:, 0])
    return float(left.sum()) * FRAME_S, float(right.sum()) * FRAME_S


def to_mono(samples_TC: NDArray[np.float32], choice: Channel | int) -> NDArray[np.float32]:
    """Take a channel, or the mean of all.

    Raises:
        SampleError: `no_such_channel`.
    """
    if samples_TC.shape[1] == 1:
        if choice == "right":
            raise SampleError("no_such_channel", "one channel; there is no right one")
        return samples_TC[:, 0]
    if choice == "mix":
        with np.errstate(over="ignore", invalid="ignore"):  # As above.
            return samples_TC.mean(axis=1, dtype=np.float32)
    return samples_TC[:, {"left": 0, "right": 1}.get(choice, 0) if isinstance(choice, str) else choice]


def chosen(
    blocks: Iterable[NDArray[np.float32]], rate_hz: int, channels: int, choice: ChannelChoice = "auto"
) -> Channel | int:
    """Say which channel of a whole recording counts; see `ChannelJudge.choose` for `auto`. To `split` is not done here.

    Raises:
        SampleError: `channels_differ`.
    """
    if choice != "auto" and choice != "split":
        return choice
    judge = ChannelJudge(rate_hz, channels)
    for block in blocks:
        judge.add(block)
    return judge.choose()
