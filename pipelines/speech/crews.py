"""The crews of a run as one: whoever wants a unit made waits for a crew that has room."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from anytalk.synth.errors import EngineError

from .crew import Crew, Passing


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

    async def probe(self, number: int, names: Sequence[str]) -> None:
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

    async def probe(self, number: int, names: Sequence[str]) -> None:
        """See `Crews`."""
        await self.crew.probe(number, names)

    async def passing(self) -> Passing:
        """See `Crews`."""
        return self.crew.passing()
