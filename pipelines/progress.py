"""Show how far long work is: a live bar on a terminal, plain lines elsewhere, nothing at all when asked for nothing."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TextIO, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Reporter(Protocol):
    """Somebody who wants to know."""

    def phase(self, what: str, count: int | None = None, note: str = "") -> None:
        """Work of unknown length begins or goes on: what it is, and how many items have passed; `start` ends it."""

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Work of `total` steps begins; `done` of them were done by an earlier run."""

    def advance(self, steps: int, note: str = "") -> None:
        """So many more steps are done."""

    def say(self, line: str) -> None:
        """Something that should be known now."""

    def stop(self) -> None:
        """The work has ended, well or not."""


class Quiet:
    """Reports nothing."""

    def phase(self, what: str, count: int | None = None, note: str = "") -> None:
        """Do nothing."""

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Do nothing."""

    def advance(self, steps: int, note: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class Bar:
    """A live bar with what is left of the time."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.progress = Progress(*columns, console=console)
        self.status = console.status("", spinner="line")

    def phase(self, what: str, count: int | None = None, note: str = "") -> None:
        """Name the phase beside a spinner."""
        self.progress.stop()
        self.status.update(escape(_told(what, count, note)))
        self.status.start()

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Draw the bar, in the place of an earlier one of the same work."""
        self.status.stop()
        for task in self.progress.tasks:
            if task.description == what:
                self.progress.remove_task(task.id)
        self.task = self.progress.add_task(what, total=total, completed=done, note="")
        self.progress.start()

    def advance(self, steps: int, note: str = "") -> None:
        """Move the bar."""
        self.progress.update(self.task, advance=steps, note=note)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(line, markup=False, highlight=False)

    def stop(self) -> None:
        """Leave the bar as it is."""
        self.status.stop()
        self.progress.stop()


class Lines:
    """A line now and then, for logs; what is left is told at the pace of the last 30 lines, as stages differ."""

    def __init__(self, stream: TextIO, every_s: float = 10.0) -> None:
        self.stream, self.every_s = stream, every_s
        self.told: deque[tuple[float, int]] = deque(maxlen=30)
        self.what, self.last = "", 0.0

    def phase(self, what: str, count: int | None = None, note: str = "") -> None:
        """Print a line when a phase begins, and now and then how much has passed."""
        now = time.monotonic()
        if what == self.what and now - self.last < self.every_s:
            return
        self.what, self.last = what, now
        self.say(_told(what, count, note))

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Begin to count."""
        self.what, self.total, self.done = what, total, done
        self.last = -self.every_s
        self.told.clear()
        self.told.append((time.monotonic(), done))

    def advance(self, steps: int, note: str = "") -> None:
        """Count, and print a line at once for the first steps, and then when the last line is old."""
        self.done += steps
        now = time.monotonic()
        if now - self.last < self.every_s and self.done < self.total:
            return
        self.last = now
        parts = [f"{self.what}: {self.done}/{self.total}"]
        then, done = self.told[0]
        if self.done > done:
            pace_s = (now - then) / (self.done - done)
            parts.append(f"{pace_s * (self.total - self.done):.0f} s left")
        self.told.append((now, self.done))
        self.say(", ".join([*parts, note] if note else parts))

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, file=self.stream, flush=True)

    def stop(self) -> None:
        """Do nothing: every line is out already."""


def _told(what: str, count: int | None, note: str) -> str:
    told = what if count is None else f"{what}: {count:,}"
    return f"{told}, {note} ..." if note else f"{told} ..."


ItemT = TypeVar("ItemT")


def counted(items: Iterable[ItemT], what: str, progress: Reporter, every: int = 1024) -> Iterator[ItemT]:
    """Pass items on, and tell at the start and now and then how many have passed.

    Args:
        items: of a number that is not known before.
        what: phase that they are.
        progress: who is told.
        every: after how many.
    """
    progress.phase(what)
    for number, item in enumerate(items, start=1):
        if number % every == 0:
            progress.phase(what, number)
        yield item


def measured(
    items: Iterable[ItemT], what: str, total: int, progress: Reporter, size: Callable[[ItemT], int] = lambda _: 1
) -> Iterator[ItemT]:
    """Pass items on, and show how many of all have passed.

    Args:
        items: what is worked on.
        what: what they are, in the plural.
        total: how many steps they are in all.
        progress: who is told.
        size: steps of an item.
    """
    progress.start(what, total)
    try:
        for item in items:
            yield item
            progress.advance(size(item))
    finally:
        progress.stop()


def reporter() -> Reporter:
    """A bar if standard error is a terminal, else lines on it; standard output is left to results."""
    return Bar(Console(stderr=True)) if sys.stderr.isatty() else Lines(sys.stderr)
