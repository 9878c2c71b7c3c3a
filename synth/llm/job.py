"""One conversation to be had from a model: ask, check, have it repaired once, and say how it ended.

Every job ends in one of three ways: `Generated`, `Rejected` for what the model said, or `Deferred` because the
endpoint failed; a later run finishes the deferred ones and takes the others' answers from the cache.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from anytalk.synth.errors import EngineError, SampleError

from .client import Answer, ChatClient, Messages
from .speech import check_spoken

MAX_QUESTION_S = 25.0
"""Longest question, as estimated: a question over 30 s is rejected once it is spoken."""


ModelT = TypeVar("ModelT", bound=BaseModel)


class Turn(BaseModel):
    """One question and its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    answer: str


class _Conversation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    turns: list[Turn]


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
        seed: of the sampling.
        turns: how many turns must come back.
        max_answer_s: longest answer, estimated from its words, in seconds.
        source: where it comes from, for a reader of the dataset.
        provenance: template, hashes and draws, by name.
        questions: what the questions must stay, if they are not to be rewritten.
    """

    split_name: str
    conversation: str
    language: str
    messages: Messages
    seed: int
    turns: int
    max_answer_s: float
    source: str
    provenance: Mapping[str, str | int | float]
    questions: tuple[str, ...] | None = None

    def read(self, answer: Answer) -> tuple[Turn, ...]:
        """Check an answer.

        Raises:
            SampleError: `malformed_answer` if it is not the JSON that was asked for, or one of the reasons of
                `unspeakable` for what it says.
        """
        turns = read_answer(answer, self.messages, _Conversation).turns
        if len(turns) != self.turns:
            raise SampleError("malformed_answer", f"turns must hold {self.turns}; it holds {len(turns)}")
        if self.questions is not None:
            turns = [Turn(question=q, answer=turn.answer) for q, turn in zip(self.questions, turns, strict=True)]
        return tuple(self._checked(turn) for turn in turns)

    def _checked(self, turn: Turn) -> Turn:
        texts = []
        for side, text, limit_s in (
            ("question", turn.question, MAX_QUESTION_S),
            ("answer", turn.answer, self.max_answer_s),
        ):
            if side == "answer" or self.questions is None:
                check_spoken(f"the {side}", text, self.language, limit_s)
            texts.append(" ".join(text.split()))
        return Turn(question=texts[0], answer=texts[1])

    def repair(self, answer: Answer, problem: SampleError) -> Messages:
        """What to tell the model so that it mends its answer."""
        return repairing(self.messages, answer, problem)

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

    def rejected(self, error: SampleError) -> "Rejected":
        """End for what the model said."""
        return Rejected(self.split_name, self.conversation, self.language, self.source, error.reason, error.detail)

    def deferred(self, error: EngineError) -> "Deferred":
        """End for now, because the endpoint failed."""
        return Deferred(self.split_name, self.conversation, self.language, self.source, str(error))


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
    """A conversation that failed for good: `reason` is a slug that reports group by."""

    split_name: str
    conversation: str
    language: str
    source: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Deferred:
    """A conversation without an answer, because the endpoint failed; the next run asks for it again."""

    split_name: str
    conversation: str
    language: str
    source: str
    detail: str


Outcome = Generated | Rejected | Deferred


async def run(jobs: Iterable[Job], client: ChatClient) -> AsyncGenerator[Outcome, None]:
    """Do jobs side by side.

    Args:
        jobs: read as they are needed, a little ahead of what is under way.
        client: asked, at its own pace.

    Yields:
        One outcome for each job, in the order of the jobs, whenever their answers come.

    Raises:
        SetupError: the cache cannot be written.
    """
    ahead = 2 * client.endpoint.max_concurrency
    under_way: deque[asyncio.Task[Outcome]] = deque()
    try:
        for job in jobs:
            under_way.append(asyncio.create_task(_do(job, client)))
            if len(under_way) >= ahead:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _do(job: Job, client: ChatClient) -> Outcome:
    try:
        answer = await client.ask(job.messages, job.seed, SCHEMA)
        try:
            return job.generated(answer, job.read(answer), repaired=False)
        except SampleError as problem:
            answer = await client.ask(job.repair(answer, problem), job.seed, SCHEMA)
        return job.generated(answer, job.read(answer), repaired=True)
    except SampleError as error:
        return job.rejected(error)
    except EngineError as error:
        return job.deferred(error)


def read_answer(answer: Answer, messages: Messages, model: type[ModelT]) -> ModelT:
    """Read an answer as the object that was asked for.

    Args:
        answer: what the model said.
        messages: what it was told.
        model: what the object must be.

    Raises:
        SampleError: `malformed_answer`, if it is not that.
    """
    try:
        return model.model_validate(_json_object(answer.text, messages[0]["content"]))
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the object"
        raise SampleError("malformed_answer", f"{where}: {problem['msg']}") from None
    except ValueError as error:
        cut = f"; it was cut off after {answer.completion_tokens} tokens" if answer.finish_reason == "length" else ""
        raise SampleError("malformed_answer", f"{error}{cut}") from None


def repairing(messages: Messages, answer: Answer, problem: SampleError) -> Messages:
    """What to tell a model so that it mends its answer."""
    told = f"That will not do. {problem.detail}. Send the whole JSON object again, mended, and nothing else."
    said = answer.text[:4000]  # A model that babbles to its limit need not read all of it again.
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": told}]


def _json_object(text: str, told: str) -> object:
    """The first JSON object of a text that was not already told to the model, whatever is said or fenced around it.

    Some models repeat the form that they were shown before they fill it in, and some servers the whole prompt.

    Raises:
        ValueError: there is none.
    """
    text = re.sub(r"^.*</think>", "", text, flags=re.DOTALL)
    start = text.find("{")
    try:
        while start >= 0:
            found, end = json.JSONDecoder(strict=False).raw_decode(text, start)
            if text[start:end] not in told:
                return found
            start = text.find("{", end)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    raise ValueError(f"there is no JSON object of its own in {text[:60]!r}")
