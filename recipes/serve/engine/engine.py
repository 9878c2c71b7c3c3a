"""Answers for many clients at once: one thread owns the model and steps a batch that questions join and leave.

A client asks with `Engine.ask` and gets pieces through a callback, from the engine's thread. Questions join when their
features are ready; those that find the batch full wait, a bounded number of them, in a line that is fair (`Line`).
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from anytalk.model import (
    Piece,
    Request,
    StreamingAnswer,
    StreamingDecoder,
    StreamingText,
    Task,
    Turn,
    adapter_positions,
)
from anytalk.recipes.data import encoder
from anytalk.recipes.serve.errors import Closed, Full
from anytalk.recipes.talk import Conversation, Talker, ask
from anytalk.synth.errors import AnyTalkError, SampleError

from .line import Line
from .listening import Listener

LOG = logging.getLogger("anytalk.serve")

Deliver = Callable[[Piece | AnyTalkError], None]
"""Takes each piece of an answer, the last one with an end; or the error that the answer ends with."""


@dataclass(frozen=True, eq=False)
class Question:
    """What a client asks.

    Args:
        task: what for.
        text: the question in writing, for tasks that do not hear.
        features: of the spoken question, maybe still on their way.
        conversation: what was said before; a question at a time asks in one.
        max_frames: codec frames that the answer may have.
        asker: whose it is: who asks much waits behind those who ask little.
    """

    task: Task
    text: str = ""
    features: "Future[Tensor] | None" = None
    conversation: Conversation | None = None
    max_frames: int | None = None
    asker: str = ""


class Answering:
    """An answer on its way. `cancel` may be called from any thread, and again."""

    def __init__(self, engine: "Engine", question: Question, deliver: Deliver) -> None:
        self.question = question
        self.asked_s = time.perf_counter()
        self.first_sound_s: float | None = None
        """Seconds from the question to its first sound."""
        self.speech_samples = 0
        self._engine, self._deliver = engine, deliver
        self.cancelled = False

    @property
    def speech_s(self) -> float:
        """Speech that was given so far."""
        return self.speech_samples / self._engine.talker.codec.sample_rate_hz

    def cancel(self) -> None:
        """Stop: no piece comes any more, but one that is on its way."""
        self.cancelled = True
        self._engine.send(lambda: self._engine.drop(self))

    def give(self, piece: Piece | AnyTalkError) -> None:
        """Hand a piece or an error to whoever asked, unless it cancelled."""
        if isinstance(piece, Piece) and len(piece.pcm):
            self.speech_samples += len(piece.pcm)
            if self.first_sound_s is None:
                self.first_sound_s = time.perf_counter() - self.asked_s
        if not self.cancelled:
            self._deliver(piece)


@dataclass(eq=False)
class _Running:
    """An answer that is in the batch."""

    answering: Answering
    request: Request
    pieces: StreamingAnswer
    text: list[int] = field(default_factory=list)
    frames: list[tuple[int, ...]] = field(default_factory=list)


class Engine:
    """Owns a talker.

    Args:
        talker: model, codec, recogniser and tokenizer.
        answers: questions that are answered at once.
        waiting: questions that may wait beside them.
        finished: told of every answer that left, and why: an end, `cancelled` or `failed`. From the engine's thread.
    """

    def __init__(
        self,
        talker: Talker,
        *,
        answers: int = 8,
        waiting: int = 32,
        finished: Callable[[Answering, str], None] = lambda answering, end: None,
    ) -> None:
        self.talker, self.answers, self.waiting = talker, answers, waiting
        self.listener = Listener(talker.whisper, most=2 * (answers + waiting))
        self._encode = encoder(talker.tokenizer)
        self._finished = finished
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._asked: set[Answering] = set()
        """Every answer on its way: heard, waiting or running."""
        self._lock = threading.Lock()
        self._closed = False
        self._ready: Line[Answering] = Line()
        self._running: dict[int, _Running] = {}
        self._decoding = talker.new_decoding()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # For any thread

    @property
    def running(self) -> int:
        """Questions that are being answered."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Questions that wait to be heard, or for their turn."""
        return max(0, len(self._asked) - len(self._running))

    def ask(self, question: Question, deliver: Deliver) -> Answering:
        """Ask; the answer comes through `deliver`, from the engine's thread.

        Raises:
            Full: as many questions wait as may.
            Closed: the engine stops.
        """
        answering = Answering(self, question, deliver)
        with self._lock:
            if self._closed:
                raise Closed("the server stops")
            if len(self._asked) >= self.answers + self.waiting:
                raise Full(f"{len(self._asked)} questions are being answered or wait; ask again later")
            self._asked.add(answering)
        if question.features is None:
            self.send(lambda: self._ready.add(question.asker, answering))
        else:
            question.features.add_done_callback(lambda _: self.send(lambda: self._ready.add(question.asker, answering)))
        return answering

    def send(self, message: Callable[[], None]) -> None:
        """Have something done in the engine's thread, between two steps."""
        self._inbox.put(message)

    def close(self) -> None:
        """End every answer with `Closed`, and the thread."""
        with self._lock:
            self._closed = True
        self.send(lambda: None)
        self._thread.join()
        self.listener.close()

    # In the engine's thread

    def _run(self) -> None:
        while not self._closed:
            if not self._running and not self._ready:
                self._inbox.get()()
            while not self._inbox.empty():
                self._inbox.get()()
            self._admit()
            self._step()
        for answering in list(self._asked):
            answering.give(Closed("the server stops"))

    def drop(self, answering: Answering) -> None:
        """Take out an answer that was cancelled; what was said of it is kept in its conversation."""
        for number, running in list(self._running.items()):
            if running.answering is answering:
                self._take_out(number)
        self._ready.discard(answering)
        if answering in self._asked:
            self._finish(answering, "cancelled")

    def _finish(self, answering: Answering, end: str) -> None:
        with self._lock:
            self._asked.discard(answering)
        self._finished(answering, end)

    def _fail(self, answering: Answering, error: Exception) -> None:
        if not isinstance(error, AnyTalkError):
            LOG.error("an answer failed", exc_info=error)
            error = AnyTalkError(f"the answer failed: {type(error).__name__}")
        answering.give(error)
        self._finish(answering, "failed")

    def _admit(self) -> None:
        while self._ready and len(self._running) < self.answers:
            answering = self._ready.next()
            if answering not in self._asked:  # cancelled while it was being heard
                continue
            try:
                self._join(answering)
            except Exception as error:  # noqa: BLE001 one question's failure is nobody else's
                self._fail(answering, error)

    def _join(self, answering: Answering) -> None:
        question, talker = answering.question, self.talker
        request = self._request(question)
        try:
            number = self._decoding.join(
                request,
                parallel=question.task.hears,
                prefix=question.conversation.prefix if question.conversation else None,
            )
        except ValueError as error:
            raise SampleError("too_long", str(error)) from error
        words = StreamingText(talker.tokenizer.decode)
        self._running[number] = _Running(answering, request, StreamingAnswer(words, StreamingDecoder(talker.codec)))

    def _request(self, question: Question) -> Request:
        """Lay a question out; what is spoken was heard."""
        talker = self.talker
        if question.features is not None:
            heard = [question.features.result().to(talker.model.audio_embedding.weight.device)]
            turn = Turn(question.task, positions=adapter_positions(len(heard[0]), talker.model.config.stack))
        else:
            if not question.text.strip():
                raise SampleError("empty_text", "the question holds no words")
            [tokens] = self._encode([question.text])
            heard, turn = [], Turn(question.task, question=[*tokens])
        return ask(
            turn,
            heard,
            question.conversation,
            talker.model.layout,
            max_positions=talker.max_positions,
            seed=talker.seed,
            max_frames=question.max_frames or talker.max_frames,
        )

    def _step(self) -> None:
        if not self._running:
            return
        try:
            steps = self._decoding.step()
        except Exception as error:  # the thread must live on for those who come next
            LOG.error("a step failed; all answers end", exc_info=error)
            failed, self._running, self._decoding = [*self._running.values()], {}, self.talker.new_decoding()
            for running in failed:
                self._fail(running.answering, error)
            return
        for step in steps:
            running = self._running[step.request]
            if step.text is not None:
                running.text.append(step.text)
            if step.frame is not None:
                running.frames.append(step.frame)
            try:
                piece = running.pieces.push(step)
            except Exception as error:  # noqa: BLE001 one answer's failure is nobody else's
                self._running.pop(step.request)
                self._decoding.leave(step.request)
                self._fail(running.answering, error)
                continue
            if step.end is not None:  # before the last piece is given: a client may ask on at once
                self._take_out(step.request)
            if piece is not None:
                running.answering.give(piece)
            if step.end is not None:
                self._finish(running.answering, step.end)

    def _take_out(self, number: int) -> None:
        """Take an answer out of the batch, and keep what was said in its conversation."""
        running = self._running.pop(number)
        before = running.answering.question.conversation
        prefix = self._decoding.leave(number, keep=before is not None and before.context_turns > 0)
        if before is not None:
            before.remember(running.request, running.text, running.frames, prefix)
