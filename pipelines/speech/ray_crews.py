"""Crews as Ray actors: spread over the nodes, replaced where they die, more of them where nodes join.

Written for plain actors of Ray 2.60; docs/decisions says why not Ray Data's pool.
"""

import asyncio
import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.cluster import connected
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Resources
from anytalk.synth.errors import AnyTalkError, EngineError, SetupError

from .crew import Assignment, Passing
from .crews import CrewActor, CrewLost, RunStopped
from .paths import paths_of

DEATHS_AT_START = 3
"""Crews in a row that die before they have made a unit, before the run stops."""

CPUS = 4
"""Cores of a crew where the recipe says nothing and there is no GPU."""

GROWTH_S = 10.0
"""How often new nodes are looked for."""

WAITING_S = 30.0
"""How often it is told that there is no crew yet."""


class RayCrews:
    """See `crews.Crews`; for `async with`.

    Args:
        assignment: what every crew is told.
        progress: told what it waits for.
    """

    def __init__(self, assignment: Assignment, progress: Reporter) -> None:
        self.assignment = assignment
        self.progress = progress
        self.resources = assignment.recipe.resources
        self.actors: set[Any] = set()
        self.loaded: set[Any] = set()
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        self._open = contextlib.AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deaths = 0
        self._broken: AnyTalkError | None = None

    async def __aenter__(self) -> "RayCrews":
        self.progress.phase("starting Ray")
        self._open.enter_context(connected())
        self.progress.phase("loading engines")
        self.paths = paths_of(self.assignment.recipe, Store(self.assignment.dataset))
        self.size = size_of_crew(self.resources)
        recipe = self.assignment.recipe
        hearing = self.resources.hearing or (1 if self.size.gpus else max(1, int(self.size.cpus)))
        sized = recipe.model_copy(update={"resources": self.resources.model_copy(update={"hearing": hearing})})
        self.assignment = dataclasses.replace(self.assignment, recipe=sized)
        self.grow_to(crews_that_fit(self.resources, self.size))
        self._watch(self._tell_of_waiting())
        if self.resources.crews is None:
            self._watch(self._grow())
        return self

    async def __aexit__(self, *error: object) -> None:
        import ray

        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for actor in self.actors:
            ray.kill(actor)
        await self._open.aclose()

    async def ready(self) -> None:
        """See `crews.Crews`; the others are checked as they come."""
        await self._first

    async def make(self, number: int, failed: Mapping[str, str] | None = None) -> dict[str, Any]:
        """See `crews.Crews`."""
        return dict(await self._called("make", number, failed))

    async def probe(self, number: int, names: Sequence[str], engines_work: bool = False) -> None:
        """See `crews.Crews`."""
        await self._called("probe", number, names, engines_work)

    async def passing(self) -> Passing:
        """See `crews.Crews`."""
        found = await asyncio.gather(*(actor.passing.remote() for actor in self.actors), return_exceptions=True)
        known = [one for one in found if isinstance(one, Passing)]
        return Passing(sum(one.rows for one in known), sum(one.utterances for one in known))

    async def _called(self, method: str, *arguments: object) -> Any:
        """Call a method of a crew that has room."""
        import ray

        actor = await self._free_crew()
        try:
            result = await getattr(actor, method).remote(*arguments)
        except ray.exceptions.RayTaskError as error:
            self._free.put_nowait(actor)
            raise _raised(error) from None
        except ray.exceptions.RayError as error:
            self._lost(actor)
            raise CrewLost(_death(error)) from None
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._free.put_nowait(actor)
            raise
        self._deaths = 0
        self._free.put_nowait(actor)
        return result

    async def _free_crew(self) -> Any:
        while True:
            if self._broken is not None:
                raise self._broken
            actor = await self._free.get()
            if actor is None:
                self._free.put_nowait(None)  # for whoever waits next
            elif actor in self.actors:
                return actor

    @property
    def slots(self) -> int:
        """See `crews.Crews`."""
        return max(1, len(self.actors)) * self.resources.units_in_flight

    def grow_to(self, count: int) -> None:
        """Start crews until there are so many."""
        for _ in range(count - len(self.actors)):
            self._start()

    async def nodes(self) -> Counter[str]:
        """How many crews are on each node that has any."""
        return Counter(await asyncio.gather(*(actor.node.remote() for actor in self.loaded)))

    def _start(self) -> None:
        """Start a crew; when its engines are loaded, its places are free."""
        import ray

        r, size = self.resources, self.size
        actor = (
            ray.remote(CrewActor)
            .options(
                num_cpus=size.cpus,
                num_gpus=size.gpus,
                memory=r.memory_gib and int(r.memory_gib * 2**30),
                scheduling_strategy="SPREAD",
                # As many calls at once as units, and some to ask how far it is.
                max_concurrency=r.units_in_flight + 2,
                max_restarts=0,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
            )
            .remote(self.assignment, keys_of(self.assignment), str(Path.cwd()), self.paths)
        )
        self.actors.add(actor)
        self._watch(self._opened(actor))

    async def _opened(self, actor: Any) -> None:
        import ray

        try:
            await actor.open.remote()
        except ray.exceptions.RayTaskError as error:
            self._break(_raised(error))
            return
        except ray.exceptions.RayError as error:
            if IN_CREATION in str(error):
                self._break(SetupError(f"a crew cannot start: {_death(error)}; every node needs what this one has"))
            else:
                self._lost(actor, _death(error))
            return
        if not self._first.done():
            self._first.set_result(None)
        self.loaded.add(actor)
        for _ in range(self.resources.units_in_flight):
            self._free.put_nowait(actor)

    def _lost(self, actor: Any, why: str = "") -> None:
        """Replace a crew that died, once."""
        import ray

        if actor not in self.actors:
            return
        self.actors.discard(actor)
        self.loaded.discard(actor)
        ray.kill(actor)  # Out of reach is not dead yet.
        self._deaths += 1
        if self._deaths > DEATHS_AT_START + len(self.actors):
            self._break(RunStopped(f"{self._deaths} crews in a row died without making a unit; {why}".rstrip("; ")))
            return
        self._start()

    def _break(self, error: AnyTalkError) -> None:
        """Let everybody who waits, or will wait, have an error."""
        self._broken = self._broken or error
        if not self._first.done():
            self._first.set_exception(error)
        self._free.put_nowait(None)

    async def _grow(self) -> None:
        """Start more crews where nodes join."""
        while True:
            await asyncio.sleep(GROWTH_S)
            self.grow_to(crews_that_fit(self.resources, self.size))

    async def _tell_of_waiting(self) -> None:
        """Say now and then that there is no room for a crew, as long as there is none."""
        import ray

        while True:
            await asyncio.sleep(WAITING_S)
            if not self.loaded:
                free = ray.available_resources()
                self.progress.say(
                    f"no crew is ready yet; each takes {self.size.cpus:g} cores and {self.size.gpus:g} GPUs; free are "
                    f"{free.get('CPU', 0):g} and {free.get('GPU', 0):g} (see resources.cpus and resources.gpus)"
                )

    def _watch(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclasses.dataclass(frozen=True)
class Size:
    """What one crew takes of a cluster."""

    cpus: float
    gpus: float


def size_of_crew(resources: Resources) -> Size:
    """What one crew takes: a GPU where the cluster has any, with its share of the cores; else up to `CPUS` cores."""
    import ray

    held = ray.cluster_resources()
    usual = 1.0 if held.get("GPU", 0) and resources.device != "cpu" else 0.0
    gpus = usual if resources.gpus is None else resources.gpus
    if resources.cpus is not None:
        return Size(resources.cpus, gpus)
    if gpus and held.get("GPU", 0):
        return Size(max(1.0, float(held.get("CPU", 1.0) / held["GPU"] * gpus)), gpus)
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    smallest = min((cpus for cpus in nodes if cpus), default=1.0)
    return Size(min(float(resources.hearing or CPUS), smallest), gpus)


def crews_that_fit(resources: Resources, size: Size) -> int:
    """How many crews the cluster holds, or the recipe wants."""
    import ray

    if resources.crews is not None:
        return int(resources.crews)
    held = ray.cluster_resources()
    by_core = int(held.get("CPU", 1.0) // size.cpus) if size.cpus else 1
    by_gpu = int(held.get("GPU", 0.0) // size.gpus) if size.gpus else by_core
    return max(1, min(by_core, by_gpu))


def keys_of(assignment: Assignment) -> dict[str, str]:
    """Environment variables that the recipe names, as they are here."""
    return {name: os.environ[name] for name in assignment.recipe.key_variables() if name in os.environ}


IN_CREATION = "error raised in its creation task"
"""What Ray says of an actor that cannot be made: what it needs is not installed there, or is another version."""


def _raised(error: Any) -> AnyTalkError:
    """What a crew raised. Ray wraps it; errors of ours are told apart by class, so they come out as they were."""
    if isinstance(error.cause, AnyTalkError):
        return error.cause
    return EngineError(f"a crew failed with {type(error.cause).__name__}: {error.cause}".splitlines()[0][:300])


def _death(error: BaseException) -> str:
    """What Ray says of a crew's death, in one line: its last lines name the cause, where it knows one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if IN_CREATION in lines[0]:
        return lines[-1][:300]
    _, _, detail = str(error).partition("Worker exit detail: ")
    return f"{lines[0]} {detail.partition(chr(10))[0].partition(' Some common causes')[0]}".strip()[:300]
