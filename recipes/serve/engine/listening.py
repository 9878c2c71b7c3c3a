"""The recogniser's thread: features and transcripts, a bounded number, in a line that is fair (`Line`)."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch
from torch import Tensor

from anytalk.recipes.serve.errors import Closed, Full
from anytalk.recipes.talk import refuse_silence
from anytalk.synth.audio import Waveform
from anytalk.synth.batch import raise_first
from anytalk.synth.hearing import Whisper

from .line import Line

T = TypeVar("T")
_Work = tuple["Future[Any]", Callable[[], Any]]


class Listener:
    """Runs a recogniser in a thread of its own, so that answers go on while it works.

    Args:
        whisper: turns speech into features and transcripts.
        most: works that may wait; the future of one more holds `Full`.
    """

    def __init__(self, whisper: Whisper, most: int = 80) -> None:
        self._whisper, self._most = whisper, most
        self._waiting: Line[_Work] = Line()
        self._changed = threading.Condition()
        self._works = self._closed = False
        self._thread = threading.Thread(target=self._run, name="recogniser", daemon=True)
        self._thread.start()

    def features(self, waveform_16k: Waveform, asker: str = "") -> "Future[Tensor]":
        """Begin to compute a question's features.

        Args:
            waveform_16k: the question.
            asker: whose it is; see `Line`.

        Returns:
            A future of (frames, F); its error is a SampleError where the question is silent or cannot be heard. One
            that is cancelled makes room.
        """
        return self._soon(lambda: self._features(waveform_16k), asker)

    def transcript(self, waveform_16k: Waveform, asker: str = "") -> "Future[str]":
        """Begin to transcribe speech of up to 30 seconds; see `features`."""
        return self._soon(lambda: raise_first(self._whisper.transcribe([waveform_16k]))[0].text, asker)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the recogniser."""
        return not self._works and not self._waiting

    def close(self) -> None:
        """Let what waits go; what runs comes to its end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _features(self, waveform_16k: Waveform) -> Tensor:
        refuse_silence(waveform_16k)
        [heard] = raise_first(self._whisper.features([waveform_16k]))
        return torch.from_numpy(heard)

    def _soon(self, work: Callable[[], T], asker: str) -> "Future[T]":
        future: Future[T] = Future()
        waits = (future, work)
        with self._changed:
            if self._closed:
                future.set_exception(Closed("the server stops"))
            elif len(self._waiting) >= self._most:
                future.set_exception(Full(f"{self._most} questions wait to be heard; ask again later"))
            else:
                self._waiting.add(asker, waits)
                self._changed.notify()
        future.add_done_callback(lambda _: self._forget(waits))
        return future

    def _forget(self, waits: _Work) -> None:
        with self._changed:
            self._waiting.discard(waits)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            _do(*work)

    def _next(self) -> _Work | None:
        """Wait for work; None where the server stops."""
        with self._changed:
            self._works = False
            self._changed.wait_for(lambda: self._waiting or self._closed)
            left = [self._waiting.next() for _ in range(len(self._waiting) if self._closed else 1)]
            self._works = not self._closed
        if not self._closed:
            return left[0]
        for future, _ in left:
            future.cancel()
        return None


def _do(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 told by whoever waits for it
        future.set_exception(error)
