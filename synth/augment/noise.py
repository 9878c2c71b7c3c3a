"""Noise, music or other people behind the speech, at a signal-to-noise ratio that is drawn.

The ratio is that of the speech while it lasts to the noise behind it: pauses do not make speech weaker. While it lasts
means the frames of 10 ms that are not quiet, by the rule that `trim_silence` cuts by: within 40 dB of the loudest.
"""

from dataclasses import dataclass

import numpy as np

from anytalk.synth.audio import Waveform, frame_power
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint

from .contract import Done, Range, draw
from .sounds import SoundFolder

QUIET_DB = -40.0
SILENT_DB = -70.0
"""Noise under this level, in dB of full scale, is a pause of its recording, not a background."""
TRIES = 8
"""Stretches that are drawn before a folder is said to hold silence."""


def active_power(waveform: Waveform, rate_hz: int) -> float:
    """Mean square of a waveform while there is speech in it; 0 for digital silence."""
    power = frame_power(waveform, rate_hz)
    return float(power[power >= power.max(initial=0.0) * 10.0 ** (QUIET_DB / 10.0)].mean())


def mix(speech: Waveform, noise: Waveform, rate_hz: int, snr_db: float) -> Waveform:
    """Add noise to speech; the speech keeps its level.

    Args:
        speech: float32.
        noise: of the same length, not silent.
        rate_hz: of both.
        snr_db: power of the speech, where it is active, over the power of all the noise, in dB.

    Returns:
        The sum, which may leave full scale.
    """
    noise_power = float(np.square(noise, dtype=np.float64).mean())
    gain = np.sqrt(active_power(speech, rate_hz) / noise_power / 10.0 ** (snr_db / 10.0))
    return speech + noise * np.float32(gain)


@dataclass(frozen=True)
class Noise:
    """Mix a stretch of some recording in.

    Args:
        sounds: the recordings.
        snr_db: range of the signal-to-noise ratio, in dB.
    """

    sounds: SoundFolder
    snr_db: Range

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """See `Step.apply`.

        Raises:
            SampleError: `silent_noise` where only silence was drawn, `silent_audio` where nothing is said.
        """
        if not waveform.any():
            raise SampleError("silent_audio", "digital silence has no signal-to-noise ratio")
        snr_db = draw(rng, self.snr_db, 2)
        for _ in range(TRIES):
            noise, name, start_s = self.sounds.excerpt(rng, len(waveform), rate_hz)
            if np.square(noise, dtype=np.float64).mean() > 10.0 ** (SILENT_DB / 10.0):
                done: Done = {"step": "noise", "file": name, "start_s": start_s, "snr_db": snr_db}
                return mix(waveform, noise, rate_hz, snr_db), done
        raise SampleError("silent_noise", f"{TRIES} stretches of {self.sounds.folder} were silent, one of {name}")

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the recordings."""
        return self.sounds.fingerprint
