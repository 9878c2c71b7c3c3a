"""Hand units out to crews, and see to it that nothing takes the run down.

A unit that a crew was lost with goes to another. One that two crews were lost with is made alone, after all others; if
that crew is lost as well, its rows are tried in halves until the row is found that does it, and that row is rejected.
A unit on whose rows engines fail is made after all others, too: its rows are to blame only if others could be made.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from anytalk.pipelines.dataset import Sidecars, StorageError
from anytalk.pipelines.plan import Plan
from anytalk.pipelines.progress import Reporter
from anytalk.synth.errors import EngineError
from anytalk.synth.wording import quantity

from .crew import Assignment, Crew, EnginesFailed, Passing
from .crews import CrewLost, Crews, LocalCrews, RunStopped

FAILURES_IN_A_ROW = 5
"""Units that fail in a row, all for one reason, before the run stops: what is broken will not mend by going on."""

LOST_BEFORE_ALONE = 2
"""Crews that are lost with a unit before it is made alone."""

PROGRESS_S = 0.5
"""How often crews are asked how many rows have passed; less often where there are many, as each is asked."""

SLOTS_AT_ONCE = 64
"""Units under way that are asked after in that time."""


NOTHING = Passing(0, 0)


@contextlib.asynccontextmanager
async def open_crews(assignment: Assignment, progress: Reporter, *, local: bool) -> AsyncIterator[Crews]:
    """Open the crews of a run: one in this process, or as many as the recipe says on Ray."""
    if local:
        progress.phase("loading engines")
        async with Crew(assignment) as crew:
            yield LocalCrews(crew)
        return
    from .ray_crews import RayCrews

    async with RayCrews(assignment, progress) as crews:
        yield crews


@dataclasses.dataclass
class Run:
    """What became of the units so far."""

    made: Sidecars = dataclasses.field(default_factory=Sidecars)
    deferred: dict[int, str] = dataclasses.field(default_factory=dict)
    lost: dict[int, int] = dataclasses.field(default_factory=dict)
    alone: list[int] = dataclasses.field(default_factory=list)
    """Units that crews were lost with, or engines failed on; they are made one at a time, after all others."""
    suspects: dict[int, str] = dataclasses.field(default_factory=dict)
    """What engines failed with, of the units that are left for the end for that."""
    stopped: str | None = None
    failures: list[str] = dataclasses.field(default_factory=list)
    """Kinds of the last failures, since a unit was made."""
    rows_made: int = 0
    rows_rejected: int = 0
    rows_told: int = 0
    """Rows that the progress was told of."""
    utterances: int = 0
    """Utterances that the progress was told of before there was a row."""

    def finished(self, number: int, sidecar: dict[str, Any]) -> None:
        """Take note of a unit that is committed."""
        self.made[number] = sidecar
        self.rows_made += sidecar["accepted"] + sidecar["rejected"]
        self.rows_rejected += sidecar["rejected"]
        self.failures.clear()

    def failed(self, number: int, error: EngineError) -> None:
        """Take note of a unit that is left for a later run, or for the end, and stop where nothing else will come."""
        if isinstance(error, EnginesFailed):
            self.alone.append(number)
            self.suspects[number] = str(error)
        else:
            self.deferred[number] = str(error)
        self.failures.append(_kind(error))
        if isinstance(error, StorageError | RunStopped):
            self.stopped = str(error)
        elif self.failures[-FAILURES_IN_A_ROW:].count(self.failures[-1]) == FAILURES_IN_A_ROW:
            self.stopped = f"{FAILURES_IN_A_ROW} units in a row failed in one way, the last one: {error}"


async def make_units(
    todo: Sequence[int],
    plan: Plan,
    crews: Crews,
    progress: Reporter,
    *,
    hours: float | None = None,
    spent_s: float = 0.0,
    share: Sequence[int] | None = None,
) -> tuple[Sidecars, dict[int, str]]:
    """Make units, as many at once as the crews take.

    Args:
        todo: numbers of the units.
        plan: of the dataset.
        crews: who makes them.
        progress: told of rows as they pass.
        hours: wall-clock time after which no further unit is begun; None for no end.
        spent_s: how much of it has passed.
        share: units that this run sees to, those that are there included; None for the whole plan.

    Returns:
        Sidecars by number, and why the others were deferred.
    """
    run = Run()
    waiting = iter(todo)
    ends_at = None if hours is None else asyncio.get_running_loop().time() + hours * 3600 - spent_s

    def next_units() -> Iterator[int]:
        for number in waiting:
            if ends_at is not None and asyncio.get_running_loop().time() >= ends_at:
                run.stopped = f"resources.hours ({hours:g}) are over"
            if run.stopped is not None:
                run.deferred[number] = run.stopped
                return
            yield number

    workers = 0

    def hire(group: asyncio.TaskGroup) -> None:
        """Have a worker for each place; there are more where crews have joined."""
        nonlocal workers
        for _ in range(min(crews.slots, len(todo)) - workers):
            group.create_task(worker(group))
            workers += 1

    async def worker(group: asyncio.TaskGroup) -> None:
        for number in next_units():
            await _make_with_others(number, crews, run, progress)
            _advance(run, NOTHING, progress)
            hire(group)

    rows = plan.rows if share is None else sum(map(plan.units.size, share))
    progress.start("rows", rows, rows - sum(map(plan.units.size, todo)))
    told = asyncio.create_task(_tell(run, crews, progress))
    try:
        await _grouped(hire)
        asks = bool(run.suspects) and not run.made and run.stopped is None
        engines_work = not asks or await _engines_work(todo, share, plan, crews)
        for number in sorted(run.alone):
            if run.stopped is not None:
                run.deferred[number] = run.suspects.get(number, run.stopped)
            elif number in run.suspects and not engines_work:
                run.deferred[number] = run.suspects[number]
            else:
                await _make_alone(number, plan, crews, run, progress)
                _advance(run, NOTHING, progress)
    finally:
        told.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await told
        progress.stop()
    if run.stopped is not None:
        run.deferred |= dict.fromkeys(waiting, run.stopped)
        progress.say(f"stopped: {run.stopped}")
    return run.made, run.deferred


async def _grouped(begin: Callable[[asyncio.TaskGroup], None]) -> None:
    """Let tasks that begin in a group run to their end; what one of them raises comes out as it is, and ends them."""
    try:
        async with asyncio.TaskGroup() as group:
            begin(group)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _engines_work(todo: Sequence[int], share: Sequence[int] | None, plan: Plan, crews: Crews) -> bool:
    """Whether a unit that need not be made could be; it is thrown away. Without one, nobody knows."""
    units = range(len(plan.units)) if share is None else share
    other = next(iter(set(units).difference(todo)), None)
    if other is None:
        return False
    try:
        await crews.probe(other, [row.id for row in plan.units[other]], engines_work=True)
    except EngineError:
        return False
    return True


async def _make_with_others(number: int, crews: Crews, run: Run, progress: Reporter) -> None:
    """Make a unit, again where its crew was lost; one that may be the cause of that is left for later."""
    while True:
        try:
            run.finished(number, await crews.make(number))
            return
        except CrewLost as error:
            run.lost[number] = run.lost.get(number, 0) + 1
            progress.say(f"unit {number} goes to another crew: {error}")
            if run.lost[number] >= LOST_BEFORE_ALONE:
                run.alone.append(number)
                return
        except EngineError as error:
            run.failed(number, error)
            fate = "is tried again after the others" if isinstance(error, EnginesFailed) else "is deferred"
            progress.say(f"unit {number} {fate}: {error}")
            return


async def _make_alone(number: int, plan: Plan, crews: Crews, run: Run, progress: Reporter) -> None:
    """Make a unit while no other is under way, without the rows that crews die of; rows that engines fail on go."""
    try:
        try:
            sidecar = await crews.make(number, {})
        except CrewLost as error:
            lost = run.lost.get(number, 0) + 1
            progress.say(f"unit {number} was lost with {quantity(lost, 'crew')}; its rows are tried in halves")
            failed = await _deadly(number, [row.id for row in plan.units[number]], crews, str(error))
            sidecar = await crews.make(number, failed)
    except EngineError as error:
        run.failed(number, error)
        progress.say(f"unit {number} is deferred: {error}")
    else:
        run.finished(number, sidecar)


async def _deadly(number: int, names: list[str], crews: Crews, cause: str) -> dict[str, str]:
    """The rows among some of a unit that a crew dies of, each with what is known of it."""
    for _ in range(2):  # Once may have been anything.
        try:
            await crews.probe(number, names)
        except CrewLost as error:
            cause = str(error)
        else:
            return {}
        if len(names) > 1:
            break
    if len(names) == 1:
        return {names[0]: f"crews died of it: {cause}"}
    middle = len(names) // 2
    found = await _deadly(number, names[:middle], crews, cause)
    return found | await _deadly(number, names[middle:], crews, cause)


async def _tell(run: Run, crews: Crews, progress: Reporter) -> None:
    """Tell of rows as they pass, until cancelled."""
    while True:
        await asyncio.sleep(PROGRESS_S * max(1.0, crews.slots / SLOTS_AT_ONCE))
        _advance(run, await crews.passing(), progress)


def _advance(run: Run, passing: Passing, progress: Reporter) -> None:
    """Tell of the rows since the last time, and of utterances until there is a row; what is made again counts once."""
    new = max(0, run.rows_made + passing.rows - run.rows_told)
    if new:
        run.rows_told += new
        progress.advance(new, f"{run.rows_rejected} rejected")
    elif not run.rows_told and passing.utterances > run.utterances:
        run.utterances = passing.utterances
        progress.advance(0, f"{quantity(run.utterances, 'utterance')} spoken")


def _kind(error: EngineError) -> str:
    """What failures are alike by: their class and the beginning of what they say, without numbers."""
    return f"{type(error).__name__} {''.join(c for c in str(error)[:80] if not c.isdigit())}"
