"""The engines of a build in this process: four kinds, some of each, behind awaitable calls that threads serve.

An engine runs one call at a time. What a call returns depends on its arguments alone, so that the number of engines
changes no byte.
"""

import asyncio
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from anytalk.pipelines.recipe import Recipe
from anytalk.synth.device import resolve
from anytalk.synth.errors import AnyTalkError, EngineError, SampleError
from anytalk.synth.memory import keep_freed_memory

STAGES = ("voices", "hearing", "judging", "codec")


class Work(NamedTuple):
    """One finished call: what it returned, and how long it took."""

    result: Any
    seconds: float


def instruction_set() -> str:
    """Widest vector instructions of this processor: the low-order bits of the models' output depend on them."""
    import torch

    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


class Pool:
    """Engines of one kind, each made at its first call, so that a missing one is an error of that call.

    Args:
        make: makes one.
        count: how many.
    """

    def __init__(self, make: Callable[[], object], count: int) -> None:
        self._make = make
        self._count = count
        self._free: asyncio.LifoQueue[object | None] = asyncio.LifoQueue()
        # Last in, first out: an engine that is loaded is used before another one is loaded.
        for _ in range(count):
            self._free.put_nowait(None)

    async def call(self, method: str, *arguments: object) -> Work:
        """Call a method of a free engine, in a thread."""
        engine = await self._free.get()
        try:
            if engine is None:
                engine = await asyncio.to_thread(self._make)
            started = time.perf_counter()
            result = await asyncio.to_thread(getattr(engine, method), *arguments)
            return Work(result, time.perf_counter() - started)
        finally:
            self._free.put_nowait(engine)

    async def load(self) -> None:
        """Load all of them, which waits for those that are in use."""
        await asyncio.gather(*(self.call("fingerprint") for _ in range(self._count)))

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count


class Engines:
    """The four pools of a build as one caller sees them, with a count of the seconds that it used.

    Args:
        pools: one pool for each name in `STAGES`.
    """

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self.pools = pools
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.spoken = 0
        """Utterances that voices have spoken or read."""

    async def call(self, stage: str, method: str, *arguments: object) -> Any:
        """Call a method of a stage's engine."""
        done = await self.pools[stage].call(method, *arguments)
        self.seconds[stage] += done.seconds
        return done.result

    async def each(self, stage: str, method: str, *items: Sequence[object]) -> list[Any]:
        """Call a method that takes a batch, and gives a result for each item of it.

        An engine that raises for a batch is asked again for its halves, until the item that it raises for is found:
        that item is a `SampleError` with the reason `engine_error`, and the others are what they are alone.

        Args:
            stage: of the engine.
            method: takes one or more sequences of the same length.
            items: those sequences.

        Raises:
            EngineError: the machinery failed; memory that is too small for a single item counts as that.
        """
        try:
            results = await self.call(stage, method, *items)
            self.spoken += len(items[0]) if method == "speak" else 0
            return [None] * len(items[0]) if results is None else list(results)
        except AnyTalkError:
            raise
        except Exception as error:
            if len(items[0]) > 1:
                middle = len(items[0]) // 2
                halves = [[part[:middle] for part in items], [part[middle:] for part in items]]
                return [result for half in halves for result in await self.each(stage, method, *half)]
            cause = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            if isinstance(error, MemoryError) or "out of memory" in cause.lower():
                raise EngineError(f"{stage} ran out of memory on one utterance: {cause}") from error
            return [SampleError("engine_error", f"{stage} failed on this utterance: {cause}")]

    async def load(self) -> None:
        """Load every engine of every pool, of which a short run would otherwise load some while it is measured."""
        await asyncio.gather(*(pool.load() for pool in self.pools.values()))

    def another(self) -> "Engines":
        """The same pools with a count of their own."""
        return Engines(self.pools)


def engines_of(recipe: Recipe) -> Engines:
    """The engines that a recipe uses, each loaded when it is first called, which raises `SetupError` if it cannot be.

    Where nothing is listened to there are no judges, and without features no Whisper either.
    """
    # Here, since they bring torch along, which planning and finished datasets have no need of.
    from .engine import CodecEngine, JudgeEngine, RecogniserEngine, VoiceEngine

    keep_freed_memory()
    r = recipe.resources
    # A GPU is kept busy by one recogniser with batches; several would each hold its weights.
    on_gpu = r.device != "cpu" and resolve("auto") != "cpu"
    recognisers = r.hearing or (1 if on_gpu else os.cpu_count() or 1)
    transcribing = recipe.check.recogniser if recipe.check.listen else None
    pools = {
        "voices": Pool(
            lambda: VoiceEngine(recipe.voices.names(), recipe.audio, recipe.voices, recipe.augment, r.device),
            r.voices,
        ),
        "hearing": Pool(
            lambda: RecogniserEngine(recipe.features, recipe.source.language, r.device, transcribing), recognisers
        ),
        "judging": Pool(
            lambda: JudgeEngine(recipe.check.mos, recipe.check.speaker, recipe.voices.references(), r.device),
            r.judging,
        ),
        "codec": Pool(lambda: CodecEngine(recipe.codec, recipe.source.brings_codes, r.device), r.codec),
    }
    unused = {"hearing": not recipe.hears, "judging": not recipe.check.listen}
    return Engines({stage: pool for stage, pool in pools.items() if not unused.get(stage)})
