"""The crews of a run as one: whoever wants a unit made waits for a crew that has room."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from anytalk.synth.errors import EngineError

from .crew import Assignment, Crew, Passing
from .paths import refuse_unseen, refuse_unseen_recordings


class CrewLost(EngineError):
    """A crew died while it made a unit: its process was killed, its machine went away."""


class RunStopped(EngineError):
    """The run stops before all is made, and the same command goes on later."""


class Crews(Protocol):
    """The crews of a run, as one: whoever calls waits for a crew that has room."""

    @property
    def slots(self) -> int:
        """Units that may be under way at once; more when crews join."""

    async def ready(self) -> None:
        """Wait until the engines of a crew are loaded; see `Crew.ready`."""

    async def make(self, number: int, failed: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Have a unit made; see `Crew.make`.

        Raises:
            CrewLost: its crew died meanwhile.
        """

    async def probe(self, number: int, names: Sequence[str], engines_work: bool = False) -> None:
        """Have some rows of a unit made and thrown away; raises as `make` does."""

    async def passing(self) -> Passing:
        """See `Crew.passing`, over all crews that live."""


class LocalCrews:
    """One crew, in this process."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.slots = crew.recipe.resources.units_in_flight

    async def ready(self) -> None:
        """See `Crews`."""
        await self.crew.ready()

    async def make(self, number: int, failed: Mapping[str, str] | None = None) -> dict[str, Any]:
        """See `Crews`."""
        return await self.crew.make(number, failed)

    async def probe(self, number: int, names: Sequence[str], engines_work: bool = False) -> None:
        """See `Crews`."""
        await self.crew.probe(number, names, engines_work)

    async def passing(self) -> Passing:
        """See `Crews`."""
        return self.crew.passing()


class CrewActor:
    """A crew in a process of its own, for `ray_crews`."""

    def __init__(
        self, assignment: Assignment, environment: Mapping[str, str], folder: str = ".", paths: Sequence[str] = ()
    ) -> None:
        # As arguments: what stands in a runtime environment is logged, and these are keys.
        os.environ.update(environment)
        with contextlib.suppress(OSError):
            os.chdir(folder)  # A path in a recipe may start from where the build was started.
        self.paths = paths
        self.crew = Crew(assignment)

    async def open(self) -> None:
        """Load the engines, and see that they are those of the dataset."""
        refuse_unseen(self.paths)
        refuse_unseen_recordings(self.crew.plan)
        await self.crew.__aenter__()
        await self.crew.ready()

    async def make(self, number: int, failed: Mapping[str, str] | None) -> dict[str, Any]:
        """See `Crew.make`."""
        return await self.crew.make(number, failed)

    async def probe(self, number: int, names: Sequence[str], engines_work: bool) -> None:
        """See `Crew.probe`."""
        await self.crew.probe(number, names, engines_work)

    async def passing(self) -> Passing:
        """See `Crew.passing`."""
        return self.crew.passing()

    async def node(self) -> str:
        """Name of the node that it is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())
