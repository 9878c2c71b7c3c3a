"""Ask language models while a plan is made: one cache, one count of the cost, one line of progress."""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.cluster import connected
from anytalk.pipelines.concurrency import LoopRunner, run_to_end
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import ClusterModel
from anytalk.synth.errors import EngineError, MissingExtra, SetupError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.endpoint import ChatEndpoint, Usage
from anytalk.synth.llm.job import SCHEMA, Job, Outcome, Rejected, run

from .vllm import VllmEngine, run_on_cluster


class LlmClient:
    """Asks language models for a plan, and knows what it came to.

    Args:
        cache: file of the answers.
        seed: of the recipe.
        progress: who is told how far it is.
        style_tags: what texts may hold beside words.
        where: what is told of whatever is asked, such as ` for part 2 of 3`.
    """

    def __init__(
        self, cache: Path, seed: int, progress: Reporter, style_tags: tuple[str, ...] = (), where: str = ""
    ) -> None:
        self.cache, self.seed, self.style_tags, self.where = cache, seed, style_tags, where
        self._progress = progress
        self._usage: list[tuple[ChatEndpoint | ClusterModel, Usage]] = []
        self._rejected = 0
        self._stopped = False
        self._asking: asyncio.Task[Outcome | None] | None = None

    def begin(self, what: str, conversations: int) -> None:
        """Tell that so many conversations will be asked for."""
        self._progress.stop()
        self._rejected = 0
        self._progress.start(f"{what}{self.where}", conversations)

    def stop(self) -> None:
        """End what is being asked, from another thread: whoever reads outcomes has an `EngineError`."""
        self._stopped = True
        if (task := self._asking) is not None:
            with contextlib.suppress(RuntimeError):  # Its loop may have ended.
                task.get_loop().call_soon_threadsafe(task.cancel)

    def ask(self, jobs: Iterable[Job], backend: ChatEndpoint | ClusterModel) -> Iterator[Outcome]:
        """Have jobs done.

        An endpoint is asked a little ahead of whoever reads the outcomes, and nothing happens between two reads. vLLM
        inside the cluster answers all at once.

        Yields:
            One outcome for each job, in their order.

        Raises:
            SetupError: the key is not in the environment, the cache cannot be written, or vLLM is not installed.
            EngineError: it was stopped.
        """
        with AnswerCache(self.cache) as cache, contextlib.closing(self._done(jobs, backend, cache)) as outcomes:
            for outcome in outcomes:
                self._rejected += isinstance(outcome, Rejected)
                self._progress.advance(1, f"{self._rejected} rejected, {self._tokens():,} tokens")
                yield outcome

    def _done(
        self, jobs: Iterable[Job], backend: ChatEndpoint | ClusterModel, cache: AnswerCache
    ) -> Generator[Outcome, None, None]:
        if isinstance(backend, ClusterModel):
            return self._on_cluster(jobs, backend, cache)
        return self._over_http(jobs, backend, cache)

    def _over_http(
        self, jobs: Iterable[Job], endpoint: ChatEndpoint, cache: AnswerCache
    ) -> Generator[Outcome, None, None]:
        with LoopRunner() as runner:
            client = ChatClient(endpoint, cache)
            self._usage.append((endpoint, client.usage))
            outcomes = run(jobs, client)
            try:
                while (outcome := runner.run(self._next(outcomes))) is not None:
                    yield outcome
            except asyncio.CancelledError:
                raise EngineError("asking was stopped") from None
            finally:
                runner.run(_close(outcomes))

    async def _next(self, outcomes: AsyncGenerator[Outcome, None]) -> Outcome | None:
        self._asking = asyncio.current_task()
        if self._stopped:  # Whoever stops looks for the task after that.
            raise asyncio.CancelledError
        return await anext(outcomes, None)

    def _on_cluster(
        self, jobs: Iterable[Job], model: ClusterModel, cache: AnswerCache
    ) -> Generator[Outcome, None, None]:
        usage = Usage()
        self._usage.append((model, usage))
        with connected():
            outcomes = list(run_on_cluster(jobs, model, cache, usage=usage))
        yield from outcomes

    def end(self) -> None:
        """Tell what it came to."""
        self._progress.stop()
        for entry in self.costs():
            cost = "" if entry["cost"] is None else f", cost {entry['cost']:.4f}"
            self._progress.say(
                f"{entry['endpoint']}: {entry['answers']:,} answers, {entry['cached']:,} from {self.cache}; "
                f"{entry['prompt_tokens']:,} tokens sent, {entry['completion_tokens']:,} got back{cost}"
            )

    def costs(self) -> list[dict[str, Any]]:
        """What this run sent and got back, one entry for each use of a model; what was in the cache is free."""
        return [
            {
                "endpoint": str(backend),
                **dataclasses.asdict(usage),
                "cost": backend.cost(usage) if isinstance(backend, ChatEndpoint) else None,
            }
            for backend, usage in self._usage
        ]

    def _tokens(self) -> int:
        return sum(usage.prompt_tokens + usage.completion_tokens for _, usage in self._usage)


async def _close(outcomes: AsyncGenerator[Outcome, None]) -> None:
    await outcomes.aclose()


def probe(models: Sequence[ChatEndpoint | ClusterModel]) -> None:
    """Find out with one small request each whether endpoints answer, and whether there is a vLLM where one is wanted.

    Raises:
        SetupError: some do not, or their keys are not in the environment; one line for each.
    """

    async def one(endpoint: ChatEndpoint) -> None:
        await ChatClient(endpoint).probe(SCHEMA)

    async def each() -> list[BaseException | None]:
        distinct = [model for place, model in enumerate(models) if model not in models[:place]]
        endpoints = [model for model in distinct if isinstance(model, ChatEndpoint)]
        return await asyncio.gather(*(one(endpoint) for endpoint in endpoints), return_exceptions=True)

    found = run_to_end(each())
    problems = [str(error) for error in found if isinstance(error, SetupError)]
    try:
        for model in models:
            if isinstance(model, ClusterModel):
                VllmEngine()
    except MissingExtra as error:
        problems.append(str(error))
    if problems:
        raise SetupError("\n".join(problems))
    if broken := next(filter(None, found), None):
        raise broken


def cache_of(store: Store) -> Path:
    """Where answers are kept: beside a local dataset, for all that lie there; else in the user's cache.

    Not in the dataset, so that a larger one goes on with the answers, and nothing of it is published.
    """
    if store.local:
        return Path(store.root).parent / "anytalk-answers.sqlite"
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "anytalk" / "answers.sqlite"
