"""Which units of a dataset are there and whole, and how those that are not are made."""

import asyncio
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from anytalk.pipelines.dataset import Judgement, Sidecars, Store, commit
from anytalk.pipelines.plan import Ahead, Plan, load_committed
from anytalk.pipelines.speech import Assignment, Crews, make_units, open_crews, unit_keys

from .close import CHECKSUMS
from .part import Part
from .progress import Reporter


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run of a build does, and how."""

    share: Part
    """Units that it sees to."""
    progress: Reporter
    local: bool
    """In this process, else on Ray."""
    mixed: bool
    """See `Assignment`."""


class Units:
    """The units of a dataset under its last judgement.

    Args:
        store: the dataset.
        plan: of the dataset.
        judgement: with the recipe.
    """

    def __init__(self, store: Store, plan: Plan, judgement: Judgement) -> None:
        self.store, self.judgement = store, judgement
        self.paths: list[str] = []
        self._began: float | None = None
        self.grow(plan)

    def grow(self, plan: Plan) -> None:
        """Take the units of a plan that has grown."""
        self.plan = plan
        key = unit_keys(plan, self.judgement.recipe, self.judgement.number)
        self.paths += [commit.sidecar_path(number, key(number)) for number in range(len(self), len(plan.units))]

    def __len__(self) -> int:
        return len(self.paths)

    def committed(self, known: Sidecars | None = None) -> Sidecars:
        """Sidecars of all units that are there; of those that are known, none is read again.

        Raises:
            SetupError: there are units of something else.
        """
        there = {path for paths in commit.sidecar_paths(self.store).values() for path in paths}
        if not self.plan.is_whole and there.difference(self.paths):
            self.grow(load_committed(self.store, self.plan))  # Somebody else has planned more, and made some of it.
        commit.refuse_foreign(self.store, sorted(there.difference(self.paths)), self.judgement.number)
        known = Sidecars() if known is None else known
        new = [number for number, path in enumerate(self.paths) if path in there and number not in known]
        read = self.store.read_each([self.paths[number] for number in new])
        kept = known.only({number for number in known if self.paths[number] in there})
        return (kept | Sidecars(dict(zip(new, read, strict=True)))).in_order()

    def torn(self, committed: Mapping[int, Mapping[str, Any]]) -> list[int]:
        """Units of which a file is missing, or of another size than its sidecar says; one listing tells."""
        sizes = self.store.sizes()
        return [n for n, s in committed.items() if any(sizes.get(file["path"]) != file["bytes"] for file in s["files"])]

    async def make(
        self, todo: Sequence[int], anew: Mapping[int, bytes | None], run: Run, ahead: Ahead | None = None
    ) -> tuple[Sidecars, dict[int, str], float]:
        """Make units.

        Args:
            todo: numbers of all that are to be made.
            anew: those of them that are there, with the bytes of the sidecar, which the unit keeps if its files come
                out as they were; None for a sidecar that is damaged.
            run: its `progress` is told of rows as they pass.
            ahead: the rest of the plan, whose units are made as it grows.

        Returns:
            Sidecars by number, why the others were deferred, and the seconds that rows took.

        Raises:
            SetupError: engines are missing, or not those of the dataset; nothing was deleted.
        """
        recipe = self.judgement.recipe
        assignment = Assignment(str(self.store), recipe, self.judgement.number, mixed=run.mixed)
        async with open_crews(assignment, run.progress, local=run.local) as crews:
            await crews.ready()
            # From here on the dataset is unfinished.
            self.store.delete(CHECKSUMS)
            for number in anew.keys() & set(todo):
                self.store.delete(self.paths[number])
            made, deferred, work_s = await self._make_rounds(todo, crews, run, ahead)
        for number in made.keys() & anew.keys():
            if (before := anew[number]) and json.loads(before)["files"] == made[number]["files"]:
                self.store.write(self.paths[number], before)
                made[number] = json.loads(before)
        return made, deferred, work_s

    def is_over(self) -> bool:
        """Whether units have been made for as long as the recipe says."""
        limit_h = self.judgement.recipe.resources.hours
        return bool(limit_h and self._began and time.monotonic() > self._began + limit_h * 3600)

    async def _make_rounds(
        self, todo: Sequence[int], crews: Crews, run: Run, ahead: Ahead | None
    ) -> tuple[Sidecars, dict[int, str], float]:
        """Make units, and then those that the plan has more by then, until it is whole; see `make`."""
        made, deferred, work_s = Sidecars(), dict[int, str](), 0.0
        share, progress, limit_h = run.share, run.progress, self.judgement.recipe.resources.hours
        began = self._began = self._began or time.monotonic()
        while todo:
            started = time.monotonic()
            own, spent_s = share.units(len(self)), started - began
            new, failed = await make_units(todo, self.plan, crews, progress, hours=limit_h, spent_s=spent_s, share=own)
            made, deferred, work_s = made | new, deferred | failed, work_s + time.monotonic() - started
            if ahead is None or (failed and not new):
                break
            try:
                async with asyncio.timeout(limit_h and max(0.0, began + limit_h * 3600 - time.monotonic())):
                    todo = await self.further(ahead, share)
            except TimeoutError:
                progress.say(f"stopped: resources.hours ({limit_h:g}) are over")
                break
        return made, deferred, work_s

    async def further(self, ahead: Ahead, share: Part) -> list[int]:
        """Wait until the plan has grown by units of a share; their numbers, or none where no more come."""
        first = len(self)
        while (plan := await ahead.grown(self.plan)) is not None:
            self.grow(plan)
            if new := [number for number in share.units(len(self)) if number >= first]:
                return new
        return []
