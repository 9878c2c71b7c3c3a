"""The rest of a plan, made in a thread while units of what is there are made."""

import asyncio
import threading
from collections.abc import Iterator
from types import TracebackType

from anytalk.pipelines.progress import Reporter

from .growing import GrowingPlan
from .plan import Plan

LOOK_S = 0.2
"""How often whoever waits looks whether the plan has grown."""


class Ahead:
    """Goes on with a plan; for `with`. What goes wrong ends it, and is raised when that is asked for.

    Args:
        growing: the plan.
        parts: of `GrowingPlan.parts`, some of which may have been taken.
        progress: who is told how far it is, while somebody waits for it.
    """

    def __init__(self, growing: GrowingPlan, parts: Iterator[Plan], progress: Reporter) -> None:
        self._growing, self._parts, self._progress = growing, parts, progress
        self._aside = _Aside(progress)
        self._plan: Plan | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="anytalk-plan", daemon=True)

    def __enter__(self) -> "Ahead":
        self._growing.progress = self._aside
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._growing.stop()
        self._thread.join()

    async def grown(self, plan: Plan) -> Plan | None:
        """Wait until there is more of the plan than this; None where no more comes."""
        while True:
            goes_on = self._thread.is_alive()
            if self._plan is not None and len(self._plan.parts) > len(plan.parts):
                return self._plan
            if not goes_on:
                return None
            self._progress.phase(*self._aside.state)
            await asyncio.sleep(LOOK_S)

    def refuse_broken(self) -> None:
        """Raise what ended the planning before the plan was whole, if anything did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for plan in self._parts:
                self._plan = plan
                self._progress.say(
                    f"part {len(plan.parts)} of {plan.parts_in_all} is planned; the plan has {plan.rows:,} rows now"
                )
        except BaseException as error:  # noqa: BLE001  It is raised by whoever waits.
            self._error = error
            if not self._growing.stopped:
                self._progress.say(f"planning has ended, and what is planned is made first: {error}")


class _Aside:
    """Remembers how far work is that goes on beside other work, and passes on what should be known now."""

    def __init__(self, progress: Reporter) -> None:
        self._progress = progress
        self._what, self._done, self._note = "planning", 0, ""

    @property
    def state(self) -> tuple[str, int, str]:
        """What it is, how many steps are done, and a note."""
        return self._what, self._done, self._note

    def phase(self, what: str, count: int | None = None, note: str = "") -> None:
        """See `Reporter`."""
        self._what, self._done, self._note = what, count or 0, note

    def start(self, what: str, total: int, done: int = 0) -> None:
        """See `Reporter`."""
        self._what, self._done, self._note = what, done, ""

    def advance(self, steps: int, note: str = "") -> None:
        """See `Reporter`."""
        self._done, self._note = self._done + steps, note

    def say(self, line: str) -> None:
        """See `Reporter`."""
        self._progress.say(line)

    def stop(self) -> None:
        """See `Reporter`."""
