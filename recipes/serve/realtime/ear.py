"""A session's input buffer: a client's samples, resampled without seams, cut into turns by the server or the client."""

import numpy as np

from anytalk.recipes.serve.errors import ProtocolError
from anytalk.recipes.serve.sound import HEARING_RATE_HZ, Incoming
from anytalk.synth.audio import Waveform
from anytalk.synth.judge.vad import SileroVad

from .protocol import Detection
from .turns import Paused, Started, Stopped, TurnDetector

MIN_TURN_S = 0.1
"""A shorter commit is an error, as in OpenAI's API."""


class Ear:
    """Hears one client. Its methods compute for some milliseconds: call them outside of the event loop, one at a time.

    Args:
        vad: finds speech; shared.
        longest_s: of a turn.
    """

    def __init__(self, vad: SileroVad, longest_s: float) -> None:
        self._vad, self._longest_s = vad, longest_s
        self._incoming = Incoming()
        self._detector: TurnDetector | None = None
        self._kept: list[Waveform] = []
        """At 16 kHz, where the client says where turns end."""
        self._kept_samples = 0
        self.received_s = 0.0
        """Sound received on this connection."""

    def detect(self, detection: Detection | None) -> None:
        """Begin, change or end turn detection; what is in the buffer stays."""
        if detection is None:
            if self._detector is not None:
                self._keep(self._detector.finish())
            self._detector = None
        elif self._detector is None:
            self._detector = TurnDetector(self._vad.stream(), detection.turns)
            self._detector.push(self._taken())
        else:
            self._detector.settings = detection.turns

    def append(self, samples: Waveform) -> list[Started | Paused | Stopped]:
        """Take samples at 24 kHz; give what was found in them.

        Raises:
            ProtocolError: the client lets its turn grow longer than it may be; the samples are not taken.
        """
        if self._detector is None and self._kept_samples / HEARING_RATE_HZ >= self._longest_s:
            raise ProtocolError(
                f"the input buffer holds {self._longest_s:g} s, the longest turn; commit or clear it",
                "input_audio_buffer_full",
            )
        self.received_s += len(samples) / 24_000
        heard = self._incoming.push(samples)
        if self._detector is not None:
            return self._detector.push(heard)
        self._keep(heard)
        return []

    def commit(self) -> Waveform:
        """End the turn here and give its sound.

        Raises:
            ProtocolError: there is next to nothing in the buffer.
        """
        if self._detector is not None:
            sound = self._detector.finish()
        else:
            self._keep(self._incoming.push(np.zeros(0, np.float32), last=True))
            self._incoming = Incoming()
            sound = self._taken()
        if len(sound) < MIN_TURN_S * HEARING_RATE_HZ:
            raise ProtocolError(
                f"the input buffer holds {1000 * len(sound) / HEARING_RATE_HZ:.0f} ms of sound; "
                f"at least {1000 * MIN_TURN_S:.0f} ms make a turn",
                "input_audio_buffer_commit_empty",
            )
        return sound[: round(self._longest_s * HEARING_RATE_HZ)]

    def clear(self) -> None:
        """Empty the buffer."""
        self._taken()
        if self._detector is not None:
            self._detector.clear()

    def _keep(self, sound: Waveform) -> None:
        self._kept.append(sound)
        self._kept_samples += len(sound)

    def _taken(self) -> Waveform:
        sound = np.concatenate([np.zeros(0, np.float32), *self._kept])
        self._kept, self._kept_samples = [], 0
        return sound
