"""The recogniser's thread: features and transcripts, a bounded number, in a line that is fair (`Line`).

What may turn out to be in vain (the features of a turn that may be over) waits in a line of its own, whose turn comes
when nothing else waits; `Listener.want` moves it.
"""

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
_Work = tuple["Future[Any]", str, Callable[[], Any]]
"""Who is told, whose it is, and what to do."""


class Listener:
    """Runs a recogniser in a thread of its own, so that answers go on while it works.

    Args:
        whisper: turns speech into features and transcripts.
        most: works that may wait; the future of one more holds `Full`.
    """

    def __init__(self, whisper: Whisper, most: int = 80) -> None:
        self._whisper, self._most = whisper, most
        self._waiting: Line[_Work] = Line()
        self._maybe: Line[_Work] = Line()
        self._changed = threading.Condition()
        self._works = self._closed = False
        self._thread = threading.Thread(target=self._run, name="recogniser", daemon=True)
        self._thread.start()

    def features(self, waveform_16k: Waveform, asker: str = "", *, maybe: bool = False) -> "Future[Tensor]":
        """Begin to compute a question's features.

        Args:
            waveform_16k: the question.
            asker: whose it is; see `Line`.
            maybe: it is not known yet whether they are wanted.

        Returns:
            A future of (frames, F); its error is a SampleError where the question is silent or cannot be heard. One
            that is cancelled makes room.
        """
        return self._soon(lambda: self._features(waveform_16k), asker, self._maybe if maybe else self._waiting)

    def want(self, future: "Future[Tensor]") -> None:
        """Say that features are wanted that were not known to be."""
        with self._changed:
            for work in self._maybe:
                if work[0] is future:
                    self._maybe.discard(work)
                    self._waiting.add(work[1], work)
                    return

    def transcript(self, waveform_16k: Waveform, asker: str = "") -> "Future[str]":
        """Begin to transcribe speech of up to 30 seconds; see `features`."""
        return self._soon(lambda: raise_first(self._whisper.transcribe([waveform_16k]))[0].text, asker, self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the recogniser."""
        return not self._works and not self._waiting and not self._maybe

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

    def _soon(self, do: Callable[[], T], asker: str, line: "Line[_Work]") -> "Future[T]":
        future: Future[T] = Future()
        work = (future, asker, do)
        with self._changed:
            if self._closed:
                future.set_exception(Closed("the server stops"))
            elif len(line) >= self._most:
                future.set_exception(Full(f"{self._most} questions wait to be heard; ask again later"))
            else:
                line.add(asker, work)
                self._changed.notify()
        future.add_done_callback(lambda _: self._forget(work))
        return future

    def _forget(self, work: _Work) -> None:
        with self._changed:
            self._waiting.discard(work)
            self._maybe.discard(work)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            _do(*work)
        for line in (self._waiting, self._maybe):
            for future, _, _ in [*line]:
                future.cancel()

    def _next(self) -> _Work | None:
        """Wait for work; None where the server stops."""
        with self._changed:
            self._works = False
            self._changed.wait_for(lambda: self._waiting or self._maybe or self._closed)
            if self._closed:
                return None
            self._works = True
            return (self._waiting or self._maybe).next()


def _do(future: "Future[Any]", asker: str, do: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(do())
    except Exception as error:  # noqa: BLE001 told by whoever waits for it
        future.set_exception(error)
