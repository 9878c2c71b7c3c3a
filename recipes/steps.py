"""Several commands of anytalk in one folder, one after the other: what is missing is run, and its time is kept."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import psutil
import typer

from anytalk.pipelines.dataset import json_bytes
from anytalk.recipes.evaluate import PAGE
from anytalk.synth.wording import quantity

SUMMARY = "summary.json"
EVALUATION = "answers/evaluation.json"

Goal = tuple[str, str, bool]
"""What is to be reached, what was reached beside it, and whether that is enough."""


@dataclass(frozen=True)
class Step:
    """One command of anytalk."""

    name: str
    arguments: tuple[str, ...]
    result: Path | None = None
    """The file that it writes last."""
    source: Path | None = None
    """What the result is made from, of a command that would make it anew each time."""

    @property
    def is_made(self) -> bool:
        """Whether the result is there; what is done then is not its work, but seeing that nothing is left to do."""
        return self.result is not None and self.result.is_file()

    @property
    def is_done(self) -> bool:
        """Whether the command need not run: its result is younger than the source."""
        if not self.is_made or self.result is None or self.source is None:
            return False
        return self.result.stat().st_mtime_ns >= self.source.stat().st_mtime_ns


@dataclass(frozen=True)
class Spent:
    """What the steps took, over all starts."""

    seconds: dict[str, float]
    """By the step's name."""
    peak_gib: float


def run_all(
    steps: Sequence[Step],
    out: Path,
    name: str,
    summarise: Callable[[Path, Spent], dict[str, Any]],
    closing: Callable[[Path, dict[str, Any]], str],
) -> int:
    """Run what is missing, write the summary and say it; gives the exit code. See `run_steps` for the first three."""
    spent = run_steps(steps, out, name)
    if isinstance(spent, int):
        return spent
    summary = summarise(out, spent)
    write_summary(out, summary)
    typer.echo(closing(out, summary))
    return 0


def run_steps(steps: Sequence[Step], out: Path, name: str) -> int | Spent:
    """Run what is missing in a folder.

    Args:
        steps: commands, in order.
        out: their folder; summary.json in it keeps what they take.
        name: target of make that goes on after a stop.

    Returns:
        What they took, or the exit code where one of them failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    seconds, peak_gib = _earlier(out)
    for step in steps:
        if step.is_done:
            continue
        typer.echo(f"\n$ {shlex.join(('anytalk', *step.arguments))}")
        was_made = step.is_made
        code, took_s, used_gib = _run(step)
        before_s = seconds.get(step.name, 0.0) if step.result else 0.0
        seconds[step.name] = before_s if was_made else round(before_s + took_s, 1)
        peak_gib = max(peak_gib, used_gib)
        write_summary(out, {"seconds": seconds, "peak_memory_gib": round(peak_gib, 2)})
        if code:
            typer.echo(f"{name}: stopped at anytalk {step.arguments[0]}; make {name} goes on from there", err=True)
            return 130 if code == 130 else 1
    return Spent(seconds, round(peak_gib, 2))


def write_summary(out: Path, summary: dict[str, Any]) -> None:
    """Write what is known of all steps."""
    (out / SUMMARY).write_bytes(json_bytes(summary))


def report(out: Path, summary: dict[str, Any], goals: Sequence[Goal]) -> list[str]:
    """Lines that say what there is, what it took, and which goals were met."""
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary["seconds"].items())
    return [
        "",
        f"{quantity(summary['rows_accepted'], 'row')} accepted, {summary['rows_rejected']} rejected, "
        f"{summary['speech_hours']:.2f} h of speech; {quantity(summary['training_steps'], 'training step')}",
        f"{took}",
        *(f"  {'met   ' if met else 'MISSED'} {name:<52} {value}" for name, value, met in goals),
        "",
        "Listen and look:",
        f"  {out / 'answers' / PAGE}    every question and answer, to listen to in a browser",
        f"  {out / 'answers'}/*.wav          the same as files",
        f"  {out / 'talker/best'}            the model; {out / 'dataset'} the dataset",
        f"  {out / SUMMARY}",
    ]


def made(out: Path, spent: Spent) -> dict[str, Any]:
    """What a summary says of the dataset in out/dataset, the training in out/talker, and what both took."""
    dataset = json.loads((out / "dataset/dataset.json").read_text())
    training = json.loads((out / "talker/summary.json").read_text())
    return {
        **{name: dataset[name] for name in ("rows_accepted", "rows_rejected", "speech_hours")},
        "training_steps": training["step"],
        "seconds": spent.seconds,
        "peak_memory_gib": spent.peak_gib,
    }


def _earlier(out: Path) -> tuple[dict[str, float], float]:
    """Of earlier starts: seconds by step, and the most memory."""
    path = out / SUMMARY
    if not path.is_file():
        return {}, 0.0
    earlier = json.loads(path.read_text())
    return earlier["seconds"], earlier["peak_memory_gib"]


def _run(step: Step) -> tuple[int, float, float]:
    """Run a command: its exit code, seconds, and the most memory that it and its children took together."""
    started = time.monotonic()
    command = [sys.executable, "-m", "anytalk.recipes", *step.arguments]
    with subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}) as process:
        memory = _Memory(process.pid)
        memory.start()
        try:
            code = process.wait()
        except KeyboardInterrupt:
            code = process.wait()  # Ctrl-C reached the command as well: it says how to go on.
        finally:
            memory.stop()
    return code, time.monotonic() - started, memory.peak_bytes / 2**30


class _Memory(threading.Thread):
    """Watches what a process and its children take: memory of their own, and their part of what they share."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_bytes = pid, 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every second, and at first more often, for a command may end within one."""
        for pause_s in chain((0.1, 0.2, 0.3, 0.4), repeat(1.0)):
            if self._ended.wait(pause_s):
                return
            self.peak_bytes = max(self.peak_bytes, _family_bytes(self.pid))

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()


def _family_bytes(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
        except psutil.Error:  # it has ended, or is not ours to look at
            continue
    return total
