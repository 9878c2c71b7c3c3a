"""Engine pools: the same four stages in this process or as Ray actors, behind one awaitable call.

A pool runs one call at a time on each of its engines. What a call returns depends on its arguments alone, so neither
the number of engines nor where they live changes a byte.
"""

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch

from anytalk.pipelines.cluster import connected
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.errors import AnyTalkError, EngineError

from .engine import CodecEngine, JudgeEngine, RecogniserEngine, VoiceEngine


class Work(NamedTuple):
    """One finished call: what it returned, how long it took, and on what kind of processor."""

    result: Any
    seconds: float
    instruction_set: str


def instruction_set() -> str:
    """Widest vector instructions of this processor: the low-order bits of the models' output depend on them."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


class Pool(Protocol):
    """Engines of one kind."""

    async def call(self, method: str, *arguments: object) -> Work:
        """Call a method of a free engine.

        Raises:
            EngineError: the engine was lost, and lost again when it was tried anew.
        """


class Worker:
    """An engine, made at its first call, so that a missing one is an error of that call wherever it runs."""

    def __init__(self, make: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self.make, self.arguments = make, arguments
        self.engine: object | None = None

    def call(self, method: str, arguments: tuple[object, ...]) -> Work:
        """Call a method of the engine here and now."""
        if self.engine is None:
            self.engine = self.make(*self.arguments)
        started = time.perf_counter()
        result = getattr(self.engine, method)(*arguments)
        return Work(result, time.perf_counter() - started, instruction_set())


class LocalPool:
    """Engines in this process; threads run them, so that they and other pools work side by side."""

    def __init__(self, make: Callable[..., object], arguments: tuple[object, ...], count: int) -> None:
        self.free: asyncio.Queue[Worker] = asyncio.Queue()
        for _ in range(count):
            self.free.put_nowait(Worker(make, arguments))

    async def call(self, method: str, *arguments: object) -> Work:
        """Call a method of a free engine."""
        worker = await self.free.get()
        try:
            return await asyncio.to_thread(worker.call, method, arguments)
        finally:
            self.free.put_nowait(worker)


class RayPool:
    """Engines as Ray actors, restarted by Ray when they are lost."""

    def __init__(self, make: Callable[..., object], arguments: tuple[object, ...], count: int, gpus: float) -> None:
        import ray

        actor = ray.remote(Worker).options(
            # A share of a core: two cores hold all four stages, which seldom all work at once.
            num_cpus=0.25,
            num_gpus=gpus,
            max_restarts=3,
            max_task_retries=2,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )
        self.free: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(count):
            self.free.put_nowait(actor.remote(make, arguments))

    async def call(self, method: str, *arguments: object) -> Work:
        """Call a method of a free engine."""
        import ray

        engine = await self.free.get()
        try:
            done: Work = await engine.call.remote(method, arguments)
            return done
        except ray.exceptions.RayTaskError as error:
            # Ray wraps what the engine raised; ours are told apart by class, so they come out as they were.
            if isinstance(error.cause, AnyTalkError):
                raise error.cause from None
            raise
        except ray.exceptions.RayActorError as error:
            raise EngineError(f"an engine was lost: {str(error).splitlines()[0]}") from error
        finally:
            self.free.put_nowait(engine)


STAGES = ("voices", "hearing", "judging", "codec")


class Engines:
    """The four pools of a build as one caller sees them, with a count of the seconds that it used.

    Args:
        pools: one pool for each name in `STAGES`.
    """

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self.pools = pools
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.instruction_sets: set[str] = set()

    async def call(self, stage: str, method: str, *arguments: object) -> Any:
        """Call a method of a stage's engine.

        Raises:
            EngineError: the engine was lost.
        """
        done = await self.pools[stage].call(method, *arguments)
        self.seconds[stage] += done.seconds
        self.instruction_sets.add(done.instruction_set)
        return done.result

    def another(self) -> "Engines":
        """The same pools with a count of their own."""
        return Engines(self.pools)


@contextlib.asynccontextmanager
async def open_engines(recipe: Recipe, local: bool) -> AsyncIterator[Engines]:
    """Open the engines that a recipe needs, and close them again.

    Args:
        recipe: names the models and how many of each engine run.
        local: in this process; else on Ray, on a running cluster where there is one and else on this machine.

    An engine is loaded when it is first called; `SetupError` comes from that call if it cannot be.
    """
    made = stages(recipe)
    if local:
        yield Engines({stage: LocalPool(make, arguments, count) for stage, (make, arguments, count, _) in made.items()})
        return
    with connected():
        yield Engines({stage: RayPool(*parts) for stage, parts in made.items()})


def stages(recipe: Recipe) -> dict[str, tuple[Callable[..., object], tuple[object, ...], int, float]]:
    """What each pool is made of: a class, its arguments, how many, and the GPUs of each."""
    r = recipe.resources
    return {
        "voices": (VoiceEngine, (recipe.voices.names(), recipe.audio, recipe.voices, recipe.augment), r.voices, 0.0),
        "hearing": (
            RecogniserEngine,
            (recipe.features, recipe.source.language),
            r.hearing or os.cpu_count() or 1,
            r.gpus_hearing,
        ),
        "judging": (JudgeEngine, (recipe.check.mos, recipe.check.speaker, recipe.voices.references()), r.judging, 0.0),
        "codec": (
            CodecEngine,
            (recipe.codec.model, recipe.source.brings_codes, recipe.codec.compiled),
            r.codec,
            r.gpus_codec,
        ),
    }
