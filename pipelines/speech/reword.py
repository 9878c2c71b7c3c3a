"""Other words for sides that fail however often they are spoken, asked for while a unit is made.

Each attempt after the first few has a wording of its own. What it is follows from the row and the attempt's number, and
every answer is in the cache before it is spoken, so that a unit that is made again says the same.
"""

import asyncio
import contextlib
import copy
import dataclasses
import functools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from anytalk.pipelines.dataset import Store, tally
from anytalk.pipelines.plan import PlannedRow, in_spoken_form, text_problem
from anytalk.pipelines.recipe import Recipe, Side
from anytalk.pipelines.source import cache_of
from anytalk.synth.errors import SampleError
from anytalk.synth.http import SEEDS
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.endpoint import Usage
from anytalk.synth.llm.generate import longest_s
from anytalk.synth.llm.reword import Request, reword
from anytalk.synth.seed import derive_seed
from anytalk.synth.text import spoken_seconds

from .attempts import Attempts, best


class Reworder:
    """Finds other words, and counts what that took.

    Args:
        recipe: with a section `reword`.
        client: of its endpoint.

    Raises:
        SetupError: the template is not in order.
    """

    def __init__(self, recipe: Recipe, client: ChatClient) -> None:
        assert recipe.reword is not None
        self.recipe, self.rules, self.client = recipe, recipe.reword, client
        self.template = recipe.reword.template()
        self.usage = Usage()

    def another(self) -> "Reworder":
        """The same connection with a count of its own."""
        one = copy.copy(self)
        one.usage = Usage()
        return one

    async def wordings(
        self, side: Side, rows: Sequence[PlannedRow], number: int, attempts: Mapping[str, Attempts]
    ) -> list[str | SampleError | None]:
        """What an attempt says of each row.

        Args:
            side: that is spoken.
            rows: that need the attempt.
            number: of the attempt, from 0.
            attempts: attempts so far, by row id.

        Returns:
            Other words in their spoken form; `SampleError` where none could be had; None for the row's own words.

        Raises:
            EngineError: the endpoint did not answer.
            SetupError: the cache cannot be written.
        """
        if number < self.rules.after or self.rules.sides not in ("both", side):
            return [None] * len(rows)
        requests = (self._wording(side, row, number, attempts[row.id]) for row in rows)
        # All are waited for: what is under way when one fails is paid for, and belongs in the cache.
        found = await asyncio.gather(*requests, return_exceptions=True)
        wordings: list[str | SampleError | None] = []
        for wording in found:
            if isinstance(wording, BaseException) and not isinstance(wording, SampleError):
                raise wording
            wordings.append(wording)
        return wordings

    async def _wording(self, side: Side, row: PlannedRow, number: int, attempts: Attempts) -> str:
        nearest = best([attempt for attempt in attempts[side] if attempt.text is None])
        request = Request(
            side=side,
            text=getattr(row.pair, side),
            heard=nearest.heard.text if nearest.heard else "",
            language=row.pair.language,
            seed=derive_seed(row.seed(self.recipe.seed), "reword", side, number) % SEEDS,
        )
        check = functools.partial(self._spoken, side=side, row=row)
        return await reword(request, self.template, self.client, check, self.usage)

    def _spoken(self, text: str, side: Side, row: PlannedRow) -> str:
        """A wording as it is said.

        Raises:
            SampleError: it cannot be said, is far longer than the row's own, or is no other wording at all.
        """
        own, other = getattr(row.pair, side), "answer" if side == "question" else "question"
        texts: dict[str, Any] = {side: " ".join(text.split()), other: None}
        pair = dataclasses.replace(row.pair, **texts)
        if problem := text_problem(pair, self.recipe.clean):
            raise SampleError(*problem)
        limit_s = longest_s(spoken_seconds(own, row.pair.language))
        allowed_s = getattr(self.recipe.clean, f"max_{side}_s") or limit_s
        bounds = {"refuse_unspeakable": True, f"max_{side}_s": min(limit_s, allowed_s)}
        spoken: str = getattr(in_spoken_form(pair, self.recipe.clean.model_copy(update=bounds)), side)
        if spoken == own:
            raise SampleError("malformed_answer", f"the {side} must be said in other words; these are the same")
        return spoken


@contextlib.asynccontextmanager
async def open_reworder(recipe: Recipe, store: Store, *, speaks: bool = True) -> AsyncIterator[Reworder | None]:
    """Open the connection that wordings come from; None where a recipe wants none, or nothing is spoken.

    Raises:
        SetupError: the key is not in the environment, the cache cannot be written, or the template is not in order.
    """
    if recipe.reword is None or not speaks:
        yield None
        return
    with AnswerCache(cache_of(store)) as cache:
        yield Reworder(recipe, ChatClient(recipe.reword.endpoint, cache))


def total_usage(usages: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Requests and tokens of several units."""
    return dict(tally.added([dataclasses.asdict(Usage()), *usages]))


def costs(recipe: Recipe, sidecars: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the wordings of a dataset took, whichever run asked for them; in the form of `LlmClient.costs`."""
    if recipe.reword is None:
        return []
    total = total_usage(sidecar["asked"] for sidecar in sidecars if "asked" in sidecar)
    endpoint = recipe.reword.endpoint
    return [{"endpoint": str(endpoint), **total, "cost": endpoint.cost(Usage(**total))}]
