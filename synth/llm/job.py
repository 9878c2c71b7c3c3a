"""One conversation to be had from a model: ask, check, have it repaired once, and say how it ended.

Every job ends in one of three ways: `Generated`, `Rejected` for what the model said, or `Deferred` because the
endpoint failed; a later run finishes the deferred ones and takes the others' answers from the cache.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from anytalk.synth.errors import EngineError, SampleError
from anytalk.synth.http import SEEDS, EndpointDownError
from anytalk.synth.text import without_tags
from anytalk.synth.text.word import words

from .client import ChatClient, Messages
from .completion import Answer
from .json_answer import read_object
from .speech import check_own, check_spoken

MAX_QUESTION_S = 25.0
"""Longest question, as estimated: a question over 30 s is rejected once it is spoken."""

MISTAKES = {
    "malformed_answer": "That is not the JSON that was asked for.",
    "echoes_prompt": "That repeats the instructions or talks about them; write what the two people say.",
    "wrong_language": "That is in another language than the one that was asked for.",
    "too_long": "That is too long.",
}
"""What a model is told of its mistake, by reason, before the detail."""


class Turn(BaseModel):
    """One question and its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    answer: str


class _Conversation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    turns: list[Turn]

    @model_validator(mode="before")
    @classmethod
    def without_frills(cls, found: Any) -> Any:
        """Take the turns without the object around them, a turn without its list, and leave further keys out."""
        turns = found.get("turns", [found] if "question" in found else None) if isinstance(found, dict) else found
        turns = [turns] if isinstance(turns, dict) else turns
        if not isinstance(turns, list):
            return {key: found[key] for key in ("turns",) if isinstance(found, dict) and key in found}
        kept = ("question", "answer")
        return {"turns": [{k: t[k] for k in kept if k in t} if isinstance(t, dict) else t for t in turns]}


SCHEMA = _Conversation.model_json_schema()
"""JSON schema of every answer."""


@dataclass(frozen=True)
class Job:
    """One conversation to be had.

    Attributes:
        split_name: label of its rows' source.
        conversation: its name.
        language: BCP-47 tag.
        messages: what the model is told.
        prompt: the part of it that no text may repeat, which is the template without what is filled in.
        seed: of the sampling.
        turns: how many turns must come back.
        exact: whether more are a mistake; else the first ones are taken.
        max_answer_s: longest answer, estimated from its words, in seconds.
        source: where it comes from, for a reader of the dataset.
        provenance: template, hashes and draws, by name.
        questions: what the questions must stay, if they are not to be rewritten.
        style_tags: what texts may hold beside words.
    """

    split_name: str
    conversation: str
    language: str
    messages: Messages
    prompt: str
    seed: int
    turns: int
    max_answer_s: float
    source: str
    provenance: Mapping[str, str | int | float]
    exact: bool = False
    questions: tuple[str, ...] | None = None
    style_tags: tuple[str, ...] = ()

    def read(self, answer: Answer) -> tuple[Turn, ...]:
        """Check an answer.

        Raises:
            SampleError: `malformed_answer` if it is not the JSON that was asked for, `echoes_prompt` if it repeats what
                the model was told or talks about it, or one of the reasons of `unspeakable` for what it says, such as
                `wrong_language`.
        """
        turns = read_object(answer, texts_of(self.messages), _Conversation).turns
        if len(turns) < self.turns or (self.exact and len(turns) > self.turns):
            raise SampleError("malformed_answer", f"turns must hold {self.turns}; it holds {len(turns)}")
        if self.questions is not None:
            turns = [Turn(question=q, answer=turn.answer) for q, turn in zip(self.questions, turns, strict=True)]
        return tuple(self._checked(turn) for turn in turns[: self.turns])

    def _checked(self, turn: Turn) -> Turn:
        limits_s = {"answer": self.max_answer_s}
        if self.questions is None:
            limits_s = {"question": MAX_QUESTION_S, **limits_s}
        for side, limit_s in limits_s.items():
            text = getattr(turn, side)
            check_own(f"the {side}", text, self.prompt)
            check_spoken(f"the {side}", text, self.language, limit_s, self.style_tags)
        question, answer = (" ".join(text.split()) for text in (turn.question, turn.answer))
        if self._words(question) == self._words(answer):
            raise SampleError("echoes_prompt", f"the answer repeats the question: {answer[:80]!r}")
        return Turn(question=question, answer=answer)

    def _words(self, text: str) -> Sequence[str]:
        return words(without_tags(text, self.style_tags))

    def generated(self, answer: Answer, turns: tuple[Turn, ...], repaired: bool) -> "Generated":
        """Put an answer that passed together with where it comes from."""
        return Generated(
            self.split_name,
            self.conversation,
            self.language,
            turns,
            self.source,
            {**self.provenance, "model": answer.model, "seed": self.seed, "repaired": int(repaired)},
        )

    def rejected(self, error: SampleError, answer: Answer | None) -> "Rejected":
        """End for what the model said; `answer` is the last that it gave, if any."""
        said = "" if answer is None else answer.text
        return Rejected(
            self.split_name, self.conversation, self.language, self.source, error.reason, error.detail, said
        )

    def deferred(self, error: EngineError) -> "Deferred":
        """End for now, because the endpoint failed."""
        is_down = isinstance(error, EndpointDownError)
        return Deferred(self.split_name, self.conversation, self.language, self.source, str(error), is_down)


@dataclass(frozen=True)
class Generated:
    """A conversation that passed its checks, turns in order."""

    split_name: str
    conversation: str
    language: str
    turns: tuple[Turn, ...]
    source: str
    provenance: Mapping[str, str | int | float]


@dataclass(frozen=True)
class Rejected:
    """A conversation that failed for good: `reason` is a slug that reports group by, `said` the model's last words."""

    split_name: str
    conversation: str
    language: str
    source: str
    reason: str
    detail: str
    said: str = ""


@dataclass(frozen=True)
class Deferred:
    """A conversation without an answer, because the endpoint failed; `is_down` where it was not even sent."""

    split_name: str
    conversation: str
    language: str
    source: str
    detail: str
    is_down: bool = False


Outcome = Generated | Rejected | Deferred


BUFFERED = 32
"""Outcomes that wait for an earlier, slower one, for each request that may be in flight."""


async def run(jobs: Iterable[Job], client: ChatClient) -> AsyncGenerator[Outcome, None]:
    """Do jobs side by side.

    A slow one holds up its successors' outcomes, not their requests: those go on while few are under way.

    Args:
        jobs: read as they are needed, a little ahead of what is under way.
        client: asked, at its own pace.

    Yields:
        One outcome for each job, in the order of the jobs, whenever their answers come.

    Raises:
        SetupError: the cache cannot be written.
    """
    side_by_side = client.endpoint.max_concurrency * len(client.endpoint.urls)
    waiting, queue = iter(jobs), deque[asyncio.Task[Outcome]]()
    try:
        while True:
            busy = [task for task in queue if not task.done()]
            while len(queue) < 2 * side_by_side or (len(busy) < side_by_side and len(queue) < BUFFERED * side_by_side):
                job = next(waiting, None)
                if job is None:
                    break
                task = asyncio.create_task(_do(job, client))
                queue.append(task)
                busy.append(task)
            if not queue:
                return
            if queue[0].done():
                yield queue.popleft().result()
            else:
                await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in queue:
            task.cancel()
        await asyncio.gather(*queue, return_exceptions=True)


async def _do(job: Job, client: ChatClient) -> Outcome:
    answer = None
    try:
        answer = await client.ask(job.messages, job.seed, SCHEMA)
        try:
            return job.generated(answer, job.read(answer), repaired=False)
        except SampleError as problem:
            answer = await client.ask(
                repairing(job.messages, answer, problem), repair_seed(job.seed), SCHEMA, repair=True
            )
        return job.generated(answer, job.read(answer), repaired=True)
    except SampleError as error:
        return job.rejected(error, answer)
    except EngineError as error:
        return job.deferred(error)


def texts_of(messages: Messages) -> list[str]:
    """What a model was told."""
    return [message["content"] for message in messages]


def repairing(messages: Messages, answer: Answer, problem: SampleError) -> Messages:
    """What to tell a model so that it mends its answer: what was wrong with it."""
    mistake = MISTAKES.get(problem.reason, "That will not do.")
    told = f"{mistake} {problem.detail}. Send the whole JSON object again, mended, and nothing else."
    said = answer.text[:4000]  # A model that babbles to its limit need not read all of it again.
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": told}]


def repair_seed(seed: int) -> int:
    """Seed of the request to mend an answer; its temperature is higher as well, see `repair_temperature`."""
    return (seed + 1) % SEEDS
