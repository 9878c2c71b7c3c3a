"""The recogniser's thread: features and transcripts in the order in which they were asked for, a bounded number."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from anytalk.recipes.talk import refuse_silence
from anytalk.synth.audio import Waveform
from anytalk.synth.batch import raise_first
from anytalk.synth.hearing import Whisper

T = TypeVar("T")


class Listener:
    """Runs a recogniser in a thread of its own, so that answers go on while it works.

    Args:
        whisper: turns speech into features and transcripts.
    """

    def __init__(self, whisper: Whisper) -> None:
        self._whisper = whisper
        self._thread = ThreadPoolExecutor(1, "recogniser")
        self._lock = threading.Lock()
        self._busy = 0

    def features(self, waveform_16k: Waveform) -> "Future[Tensor]":
        """Begin to compute a question's features.

        Returns:
            A future of (frames, F); its error is a SampleError where the question is silent or cannot be heard.
        """
        return self._soon(lambda: self._features(waveform_16k))

    def transcript(self, waveform_16k: Waveform) -> "Future[str]":
        """Begin to transcribe speech of up to 30 seconds."""
        return self._soon(lambda: raise_first(self._whisper.transcribe([waveform_16k]))[0].text)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the recogniser."""
        return self._busy == 0

    def _features(self, waveform_16k: Waveform) -> Tensor:
        refuse_silence(waveform_16k)
        [heard] = raise_first(self._whisper.features([waveform_16k]))
        return torch.from_numpy(heard)

    def _soon(self, work: Callable[[], T]) -> "Future[T]":
        with self._lock:
            self._busy += 1
        future = self._thread.submit(work)
        future.add_done_callback(lambda _: self._done())
        return future

    def _done(self) -> None:
        with self._lock:
            self._busy -= 1

    def close(self) -> None:
        """Let what waits go; what runs comes to its end."""
        self._thread.shutdown(wait=True, cancel_futures=True)
