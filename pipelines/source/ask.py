"""Ask language models while a plan is made: one cache, one count of the cost, one line of progress."""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.store import Store
from anytalk.synth.errors import SetupError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.client import Client
from anytalk.synth.llm.endpoint import Endpoint
from anytalk.synth.llm.job import SCHEMA, Job, Outcome, Rejected, run


class Asker:
    """Asks endpoints for a plan, and knows what it came to.

    Args:
        cache: file of the answers.
        seed: of the recipe.
        progress: who is told how far it is.
    """

    def __init__(self, cache: Path, seed: int, progress: Reporter) -> None:
        self.cache, self.seed = cache, seed
        self._progress = progress
        self._clients: list[Client] = []
        self._rejected = 0

    def begin(self, what: str, conversations: int) -> None:
        """Tell that so many conversations will be asked for."""
        self._progress.stop()
        self._rejected = 0
        self._progress.start(what, conversations)

    def ask(self, jobs: Iterable[Job], endpoint: Endpoint) -> Iterator[Outcome]:
        """Have jobs done side by side, a little ahead of whoever reads the outcomes.

        Nothing happens between two reads, so a mix that ends early has not asked for what it does not need.

        Yields:
            One outcome for each job, in their order.

        Raises:
            SetupError: the key is not in the environment, or the cache cannot be written.
        """
        with AnswerCache(self.cache) as cache, asyncio.Runner() as runner:
            client = Client(endpoint, cache)
            self._clients.append(client)
            outcomes = _outcomes(jobs, client)
            try:
                while (outcome := runner.run(_next(outcomes))) is not None:
                    self._rejected += isinstance(outcome, Rejected)
                    self._progress.advance(1, f"{self._rejected} rejected, {self._tokens():,} tokens")
                    yield outcome
            finally:
                runner.run(_close(outcomes))

    def end(self) -> None:
        """Tell what it came to."""
        self._progress.stop()
        for bill in self.bills():
            cost = "" if bill["cost"] is None else f", cost {bill['cost']:.4f}"
            self._progress.say(
                f"{bill['endpoint']}: {bill['answers']:,} answers, {bill['cached']:,} from {self.cache}; "
                f"{bill['prompt_tokens']:,} tokens sent, {bill['completion_tokens']:,} got back{cost}"
            )

    def bills(self) -> list[dict[str, Any]]:
        """What this run sent and got back, one entry for each use of an endpoint; what was in the cache is free."""
        return [
            {
                "endpoint": str(client.endpoint),
                **dataclasses.asdict(client.usage),
                "cost": client.endpoint.cost(client.usage),
            }
            for client in self._clients
        ]

    def _tokens(self) -> int:
        return sum(client.usage.prompt_tokens + client.usage.completion_tokens for client in self._clients)


async def _outcomes(jobs: Iterable[Job], client: Client) -> AsyncGenerator[Outcome, None]:
    async with client, contextlib.aclosing(run(jobs, client)) as outcomes:
        async for outcome in outcomes:
            yield outcome


async def _next(outcomes: AsyncGenerator[Outcome, None]) -> Outcome | None:
    return await anext(outcomes, None)


async def _close(outcomes: AsyncGenerator[Outcome, None]) -> None:
    await outcomes.aclose()


def probe(endpoints: Sequence[Endpoint]) -> None:
    """Find out with one small request each whether endpoints answer.

    Raises:
        SetupError: some do not, or their keys are not in the environment; one line for each.
    """

    async def one(endpoint: Endpoint) -> None:
        async with Client(endpoint) as client:
            await client.probe(SCHEMA)

    async def each() -> list[BaseException | None]:
        asked = [endpoint for place, endpoint in enumerate(endpoints) if endpoint not in endpoints[:place]]
        return await asyncio.gather(*(one(endpoint) for endpoint in asked), return_exceptions=True)

    found = asyncio.run(each())
    if problems := [str(error) for error in found if isinstance(error, SetupError)]:
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
