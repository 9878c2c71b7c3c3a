"""What does the size of a dataset cost? Seconds and memory to plan, to go on, to say that all is done, to check.

Engines cost nothing but a tone: what is measured is what stands around them. Each step is a command of its own, as a
user runs it, the start of Python included. The naive way is a check in one process.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
import yaml

from anytalk.pipelines.concurrency import cores
from anytalk.pipelines.progress import Reporter
from anytalk.synth.errors import EngineError
from anytalk.synth.judge.policy import Policy

from .figures import Figures, compared, describe, figures

EPILOG = (
    "Takes about 2 minutes for 10,000 rows, a quarter of an hour for 100,000 and an hour for 400,000 on two idle "
    "cores; nearly all of it makes the rows. A row takes 20 kB of disk.  "
    "Example:  anytalk bench size --rows 100000 --folder out/size"
)

NAMED = (
    "amber apple autumn basket bell bird blanket boat bottle branch bread bridge candle carpet castle "
    "chair cloud coffee copper corner cotton cup curtain desk door dragon drum feather fence field "
    "flower forest garden glass grain hammer harbour hill honey island jacket kettle kitchen ladder "
    "lake lamp leaf letter market meadow mirror morning mountain needle ocean orange paper pebble piano "
    "pigeon pillar pillow pocket raft ribbon river rope saddle shell shovel silver spoon stable table "
    "thimble tower wagon window"
)
WORDS = NAMED.split()
NO_TIME = ("--set", "resources.hours=1e-9")
"""Begins no unit: what remains is all that a build does before its first one."""


class Step(NamedTuple):
    """What a command took."""

    seconds: float
    cpu_s: float
    """Processor time of all its processes, which other work on the machine does not stretch as much."""
    peak_mib: int
    """Of the largest of its processes."""


def bench(
    rows: Annotated[int, typer.Option(min=256, max=len(WORDS) ** 3, help="Rows of the dataset.")] = 10_000,
    folder: Annotated[
        Path | None, typer.Option(help="Where the dataset is built, and stays; a temporary folder by default.")
    ] = None,
    *,
    progress: Reporter,
) -> Figures:
    """Build a dataset of tones in steps, and take the seconds and the memory of each.

    Returns:
        Figures with `value`, rows that are checked in a second; `rows`; and `steps`, by name: `seconds`, `cpu_s` and
        `peak_mib`.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return _measured(rows, folder, progress)
    with tempfile.TemporaryDirectory(prefix="anytalk-") as name:
        return _measured(rows, Path(name), progress)


def _measured(rows: int, folder: Path, progress: Reporter) -> Figures:
    recipe, out = _recipe(folder, rows), str(folder / "dataset")
    build = ["build", str(recipe), "--out", out, "--local"]
    commands = {
        "plan": ([*build, *NO_TIME], 1),
        "make the first half": ([*build, "--part", "1/2"], 0),
        "go on from half": ([*build, *NO_TIME], 1),
        "make the other half": (build, 0),
        "say that it is finished": (build, 0),
        "check": (["check", out], 0),
        "check in one process": (["check", out, "--workers", "1"], 0),
        "judge --dry-run": (["judge", out, "--set", "check.question.min_mos=1.5", "--dry-run"], 0),
        "judge": (["judge", out, "--set", "check.question.max_inner_silence_s=99"], 0),
    }
    steps: dict[str, Step] = {}
    for name, (words, code) in commands.items():
        progress.phase(f"{name} ({rows:,} rows)")
        steps[name] = _step(words, code)
    rates = [rows / steps[name].seconds for name in ("check", "check in one process")]
    return figures(
        "size",
        "rows checked a second",
        compared([rates[0]], [rates[1]], rates[1] * cores()),
        rows=rows,
        steps={name: step._asdict() for name, step in steps.items()},
    )


def _recipe(folder: Path, rows: int) -> Path:
    """A recipe whose rows differ in words, and all pass."""
    lines = []
    for number in range(rows):
        first, rest = divmod(number, len(WORDS) ** 2)
        second, third = divmod(rest, len(WORDS))
        said = f"the {WORDS[third]} with the {WORDS[second]} and the {WORDS[first]}"
        lines.append(json.dumps({"question": f"Where is {said}?", "answer": f"I saw {said}."}))
    pairs = folder / "pairs.jsonl"
    if not pairs.exists() or pairs.read_text().count("\n") != rows:
        pairs.write_text("\n".join(lines) + "\n")
    anything = dict.fromkeys(bound.name for bound in dataclasses.fields(Policy))
    sections = {
        "name": "size",
        "source": str(pairs),
        "voices": {"question": [_fast("ann"), _fast("bob")], "answer": _fast("eve")},
        "check": {"attempts": 1, "mos": "fake", "question": anything, "answer": anything},
        "features": {"model": "fake"},
        "codec": {"model": "fake"},
        "shards": {"unit_rows": 64},
    }
    path = folder / "size.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def _fast(name: str) -> dict[str, object]:
    """A voice that speaks at twice the speed, as the time of its sound is not what is measured."""
    return {"voice": f"fake:{name}", "speed": 2.0}


def _step(words: Sequence[str], code: int) -> Step:
    """Run a command, and take its seconds and memory.

    Raises:
        EngineError: it ended with another exit code.
    """
    command = [sys.executable, "-m", "anytalk.recipes", *words]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            told.seek(0)
            raise EngineError(f"{' '.join(words)} ended with {process.returncode}: {told.read()[-500:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # Bytes there, KiB elsewhere.
    cpu_s = usage.ru_utime + usage.ru_stime
    return Step(round(time.monotonic() - started, 2), round(cpu_s, 2), round(usage.ru_maxrss / unit))


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    steps = [
        f"{name}: {step['seconds']:,} s, {step['cpu_s']:,} s of processor time, {step['peak_mib']:,} MiB"
        for name, step in found["steps"].items()
    ]
    return describe(found, "as many as one process checks, times cores", f"{found['rows']:,} rows", *steps)
