"""Where a speaker begins and ends, found in sound that comes in pieces.

The settings are those of `server_vad` in OpenAI's Realtime API
(https://platform.openai.com/docs/guides/realtime-vad); what speech is, Silero VAD says.

The sound of a turn ends `TAIL_S` after its last speech, however long the silence is that ends the turn: so it is known
before the turn ends, and the recogniser may begin with it (`Paused`).
"""

from dataclasses import dataclass

import numpy as np

from anytalk.synth.audio import Waveform
from anytalk.synth.judge.vad import FRAME_SAMPLES, VadStream

RATE_HZ = 16_000
TAIL_S = 0.2
HYSTERESIS = 0.15
"""Speech ends where its probability falls so far below the threshold, as in Silero's own `VADIterator`."""

MIN_SPEECH_FRAMES = 3
"""Frames of 32 ms in a row that begin a turn: a click is none."""


@dataclass(frozen=True)
class TurnSettings:
    """How turns are found.

    Args:
        threshold: probability of speech that begins a turn.
        prefix_padding_s: sound before its first speech that belongs to a turn.
        silence_s: silence that ends a turn.
        longest_s: a turn that is longer ends, whether its speaker does or not.
    """

    threshold: float = 0.5
    prefix_padding_s: float = 0.3
    silence_s: float = 0.5
    longest_s: float = 30.0


@dataclass(frozen=True)
class Started:
    """Somebody speaks."""

    at_s: float
    """Where the turn's sound begins, padding included, in seconds since the first sample."""


@dataclass(frozen=True, eq=False)
class Paused:
    """The speaker is silent. If it stays so, this is the turn."""

    sound: Waveform


@dataclass(frozen=True, eq=False)
class Stopped:
    """The turn is over."""

    at_s: float
    """Where its sound ends."""
    sound: Waveform
    """At 16 kHz; that of the last `Paused` bit for bit, where its length is the same."""


class TurnDetector:
    """Follows one speaker.

    Args:
        vad: gives the probability of speech.
        settings: may be replaced between pieces.
    """

    def __init__(self, vad: VadStream, settings: TurnSettings) -> None:
        self.settings = settings
        self._vad = vad
        self._sound = np.zeros(0, np.float32)
        """From `_begin` on."""
        self._begin = 0
        """Sample at which the kept sound begins."""
        self._seen = 0
        """Samples that the probabilities so far stand for."""
        self._loud_frames = 0
        self._start: int | None = None
        """Where the turn begins, padding included; None while nobody speaks."""
        self._speech_end = 0
        """End of the last frame that was speech."""
        self._paused = False

    @property
    def is_speaking(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._start is not None

    def push(self, waveform_16k: Waveform) -> list[Started | Paused | Stopped]:
        """Take a piece of sound; give what it brought, in order."""
        self._sound = np.concatenate([self._sound, waveform_16k])
        found = [event for p in self._vad.push(waveform_16k) for event in self._frame(float(p))]
        self._forget()
        return found

    def clear(self) -> None:
        """Forget the sound so far, and the turn that it may have begun."""
        self._begin += len(self._sound)
        self._sound = np.zeros(0, np.float32)
        self._end_turn()

    def finish(self) -> Waveform:
        """End the turn here and give all of its sound, also what was not speech; see `clear`."""
        first = self._begin if self._start is None else self._start
        sound = self._sound[first - self._begin :]
        self.clear()
        return sound

    def _frame(self, probability: float) -> list[Started | Paused | Stopped]:
        self._seen += FRAME_SAMPLES
        settings = self.settings
        if self._start is None:
            self._loud_frames = self._loud_frames + 1 if probability >= settings.threshold else 0
            if self._loud_frames < MIN_SPEECH_FRAMES:
                return []
            first = self._seen - MIN_SPEECH_FRAMES * FRAME_SAMPLES
            self._start = max(self._begin, first - round(settings.prefix_padding_s * RATE_HZ))
            self._speech_end, self._paused = self._seen, False
            return [Started(self._start / RATE_HZ)]
        if probability >= max(settings.threshold - HYSTERESIS, 0.01):
            self._speech_end, self._paused = self._seen, False
        silence = self._seen - self._speech_end
        longest = round(settings.longest_s * RATE_HZ)
        if silence >= settings.silence_s * RATE_HZ or self._seen - self._start >= longest:
            end = min(self._turn_end(), self._start + longest)
            stopped = Stopped(end / RATE_HZ, self._turn(end))
            self._end_turn()
            return [stopped]
        if not self._paused and silence >= TAIL_S * RATE_HZ:
            self._paused = True
            return [Paused(self._turn(self._turn_end()))]
        return []

    def _turn_end(self) -> int:
        return min(self._seen, self._speech_end + round(TAIL_S * RATE_HZ))

    def _turn(self, end: int) -> Waveform:
        assert self._start is not None
        return self._sound[self._start - self._begin : end - self._begin].copy()

    def _end_turn(self) -> None:
        self._start, self._loud_frames, self._paused = None, 0, False

    def _forget(self) -> None:
        """Let go of sound that no turn can hold any more."""
        if self._start is None:
            kept = round(self.settings.prefix_padding_s * RATE_HZ) + (MIN_SPEECH_FRAMES + 1) * FRAME_SAMPLES
            if (extra := len(self._sound) - kept) > 0:
                self._sound, self._begin = self._sound[extra:], self._begin + extra
