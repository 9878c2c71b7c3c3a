"""Where somebody speaks: Silero VAD, its ONNX run directly.

The wheel `silero-vad` (https://github.com/snakers4/silero-vad, v6.2.3, MIT) imports torch for its smallest function, so
its two steps are done here: the frames of `silero_vad/sequence_vad.py` (one call for 16 s of them, where the streaming
model takes one a call), and the state machine of `get_speech_timestamps_from_probs` in `silero_vad/utils_vad.py` at its
default settings (no longest stretch).

Shapes: N = frames of 512 samples.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform, as_float32
from anytalk.synth.device import resolve
from anytalk.synth.engine import EngineInfo
from anytalk.synth.extra import are_installed
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.onnx import onnx_fingerprint, open_session, wheel_file

from .contract import SAMPLE_RATE_HZ, SHORTEST_SPEECH_S, JudgeEngine, Span, check_judged

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
BLOCK_FRAMES = 512  # of one call, as upstream: 16 s

SPEECH_FROM = 0.5
SILENCE_BELOW = 0.35
MIN_SILENCE_S = 0.1
PADDING_S = 0.03


class SileroVad:
    """Implements `Vad`.

    Args:
        threads: of one call.
        device: see `synth.device.resolve`.
    """

    def __init__(self, threads: int = 1, device: str = "cpu") -> None:
        self._device = resolve(device, "onnxruntime")
        self._path = wheel_file("silero_vad", "data/silero_vad_16k_sequence.onnx")
        self._session = open_session(self._path, threads, self._device)
        self._threads = threads

    @property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, threads, GPU."""
        return {"model": "silero-vad", **onnx_fingerprint(self._path, self._threads, self._device)}

    def speech_spans(self, waveform_16k: Waveform, shortest_s: float = SHORTEST_SPEECH_S) -> list[Span]:
        """See `Vad.speech_spans`."""
        waveform_16k = as_float32(waveform_16k)
        check_judged(waveform_16k)
        return spans_of_probabilities(self.probabilities(waveform_16k), len(waveform_16k), shortest_s)

    def probabilities(self, waveform_16k: Waveform) -> NDArray[np.float32]:
        """Give the probability of speech in each frame.

        Args:
            waveform_16k: float32 at 16 kHz.

        Returns:
            float32 of shape (N,), N = ceil(samples / 512).
        """
        return self.stream().push(waveform_16k, last=True)

    def stream(self) -> "VadStream":
        """Begin with sound that comes in pieces."""
        return VadStream(self._session)


class VadStream:
    """Silero on sound that comes in pieces: the probabilities of the whole, whatever the pieces are.

    Args:
        session: of the model; streams may share it.
    """

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self._hidden = self._cell = np.zeros((1, 1, 128), dtype=np.float32)
        self._rest = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
        """The context of the next frame, and what there is of it."""

    def push(self, waveform_16k: Waveform, *, last: bool = False) -> NDArray[np.float32]:
        """Take a piece.

        Args:
            waveform_16k: float32 at 16 kHz, of any length.
            last: nothing follows; silence fills the last frame up.

        Returns:
            The probability of speech in each frame of 512 samples that is complete, float32.
        """
        sound = np.concatenate([self._rest, waveform_16k])
        count, left = divmod(len(sound) - CONTEXT_SAMPLES, FRAME_SAMPLES)
        if last and left:
            count, sound = count + 1, np.pad(sound, (0, FRAME_SAMPLES - left))
        self._rest = sound[count * FRAME_SAMPLES :]
        if count == 0:
            return np.zeros(0, dtype=np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(sound, CONTEXT_SAMPLES + FRAME_SAMPLES)[::FRAME_SAMPLES]
        found = []
        for first in range(0, count, BLOCK_FRAMES):
            block = np.ascontiguousarray(frames[first : min(count, first + BLOCK_FRAMES)])
            values, self._hidden, self._cell = self._session.run(
                ["speech_probs", "hn", "cn"], {"input": block, "h": self._hidden, "c": self._cell}
            )
            found.append(np.asarray(values, dtype=np.float32).reshape(-1))
        return np.concatenate(found)


def spans_of_probabilities(
    probabilities: Sequence[float] | NDArray[np.float32], samples: int, shortest_s: float = SHORTEST_SPEECH_S
) -> list[Span]:
    """Turn probabilities of speech into stretches of it.

    A stretch begins with a frame of at least 0.5 and ends where the probability has stayed below 0.35 for 0.1 s;
    stretches of `shortest_s` (0.25 s) or less are dropped, the others widened by 0.03 s on each side.

    Args:
        probabilities: one a frame of 512 samples at 16 kHz.
        samples: length of the waveform.
        shortest_s: of a stretch.

    Returns:
        Starts and ends in seconds.
    """
    padding = PADDING_S * SAMPLE_RATE_HZ
    stretches = _stretches(probabilities, samples, shortest_s)
    spans = []
    for place, (start, end) in enumerate(stretches):
        before = start - stretches[place - 1][1] if place else 2 * start
        after = stretches[place + 1][0] - end if place + 1 < len(stretches) else 2 * (samples - end)
        # Neighbours nearer than two paddings meet half-way.
        begin, finish = start - min(padding, before / 2), end + min(padding, after / 2)
        spans.append((begin / SAMPLE_RATE_HZ, finish / SAMPLE_RATE_HZ))
    return spans


def _stretches(
    probabilities: Sequence[float] | NDArray[np.float32], samples: int, shortest_s: float
) -> list[tuple[int, int]]:
    """Find the stretches in samples, before they are widened."""
    found: list[tuple[int, int]] = []
    start: int | None = None
    quiet_from: int | None = None
    for frame, probability in enumerate(probabilities):
        here = frame * FRAME_SAMPLES
        if probability >= SPEECH_FROM:
            quiet_from = None
            start = here if start is None else start
        elif probability < SILENCE_BELOW and start is not None:
            quiet_from = here if quiet_from is None else quiet_from
            if here - quiet_from >= MIN_SILENCE_S * SAMPLE_RATE_HZ:
                found.append((start, quiet_from))
                start = quiet_from = None
    if start is not None:
        found.append((start, samples))
    return [(first, last) for first, last in found if last - first > shortest_s * SAMPLE_RATE_HZ]


def _known() -> list[EngineInfo]:
    installed = are_installed(["silero_vad"])
    return [EngineInfo("silero", "silero", "MIT", "Silero VAD: where somebody speaks", installed=installed)]


ENGINE = JudgeEngine(vad=lambda name, device: SileroVad(device=device), known=_known)
