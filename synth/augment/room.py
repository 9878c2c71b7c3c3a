"""Rooms: speech as it arrives at a microphone some way off, through a measured or a simulated impulse response.

As Kaldi's `wav-reverberate` does, the result is shifted by the response's highest peak, the direct sound, so that it
stays where it was, and scaled to the power that it had; it keeps its length, so the last echo is cut off.

Simulated: white Gaussian noise under an exponential decay, after the direct sound (J.-D. Polack's model of 1988; K.
Lebart, J. M. Boucher, P. N. Denbigh, "A new method based on spectral subtraction for speech dereverberation", Acta
Acustica 87, 2001). It has no early reflections in particular places, as an image-source model would, and its RT60 is
exact.
"""

from dataclasses import dataclass

import numpy as np

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint

from .contract import Done, Range, draw
from .noise import active_power
from .sounds import SoundFolder

LONGEST_RESPONSE_S = 10.0
"""A longer recording is no response of a room."""
DECAY_60_DB = 3.0 * np.log(10.0)
"""An amplitude falls by 60 dB in the time in which exp(-DECAY_60_DB t / RT60) takes it from t = 0 to RT60."""
FIRST_ECHO_S = 0.002


def reverberate(waveform: Waveform, response: Waveform, rate_hz: int) -> Waveform:
    """Convolve speech with the impulse response of a room.

    Args:
        waveform: float32.
        response: of the same rate, not silent.
        rate_hz: of both.

    Returns:
        As many samples as before, at the same active power, the direct sound where it was.
    """
    from scipy.signal import fftconvolve  # half a second, which only those wait for who are in a room

    direct = int(np.argmax(np.abs(response)))
    wet = fftconvolve(waveform.astype(np.float64), response.astype(np.float64))[direct : direct + len(waveform)]
    gain = np.sqrt(active_power(waveform, rate_hz) / active_power(wet, rate_hz))
    return (wet * gain).astype(np.float32)


def simulated_response(
    rt60_s: float, direct_to_reverberant_db: float, rate_hz: int, rng: np.random.Generator
) -> Waveform:
    """Make the impulse response of a room.

    Args:
        rt60_s: time in which its echo falls by 60 dB, in seconds; also the response's length.
        direct_to_reverberant_db: energy of the direct sound over that of all echoes, in dB.
        rate_hz: rate of the response.
        rng: makes the echoes.

    Returns:
        The response; its first sample is the direct sound.
    """
    time_s = np.arange(max(2, round(rt60_s * rate_hz))) / rate_hz
    echo = rng.standard_normal(len(time_s)) * np.exp(-DECAY_60_DB * time_s / rt60_s)
    echo[: max(1, round(FIRST_ECHO_S * rate_hz))] = 0.0
    echo *= 10.0 ** (-direct_to_reverberant_db / 20.0) / np.sqrt(np.square(echo).sum())
    echo[0] = 1.0
    return echo.astype(np.float32)


@dataclass(frozen=True)
class Room:
    """Put the speaker into a room that was measured.

    Args:
        responses: impulse responses, at most 10 s each.
    """

    responses: SoundFolder

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """See `Step.apply`.

        Raises:
            SampleError: `silent_room` where the response is silence, `silent_audio` where nothing is said.
        """
        response, name = self.responses.whole(rng, rate_hz)
        if not response.any():
            raise SampleError("silent_room", f"{name} of {self.responses.folder} is silence, not a room")
        return reverberate(_sounding(waveform), response, rate_hz), {"step": "room", "file": name}

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the responses."""
        return self.responses.fingerprint


@dataclass(frozen=True)
class SimulatedRoom:
    """Put the speaker into a room that is made up.

    Args:
        rt60_s: range of the reverberation time, in seconds.
        direct_to_reverberant_db: range of the direct sound's energy over that of the echoes, in dB.
    """

    rt60_s: Range
    direct_to_reverberant_db: Range

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """See `Step.apply`.

        Raises:
            SampleError: `silent_audio` where nothing is said.
        """
        rt60_s = draw(rng, self.rt60_s, 3)
        ratio_db = draw(rng, self.direct_to_reverberant_db, 2)
        response = simulated_response(rt60_s, ratio_db, rate_hz, rng)
        done: Done = {"step": "simulated_room", "rt60_s": rt60_s, "direct_to_reverberant_db": ratio_db}
        return reverberate(_sounding(waveform), response, rate_hz), done

    @property
    def fingerprint(self) -> Fingerprint:
        """Nothing."""
        return {}


def _sounding(waveform: Waveform) -> Waveform:
    if not waveform.any():
        raise SampleError("silent_audio", "digital silence has no power to keep")
    return waveform
