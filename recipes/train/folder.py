"""The folder of a training run: claimed by one recipe, and closed with a summary."""

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from anytalk.recipes.data import read_texts, shard_paths, texts
from anytalk.recipes.machine import commit_id, machine
from anytalk.synth.errors import SetupError

from . import checkpoint
from .checkpoint import TrainingState
from .recipe import TrainingRecipe
from .start import make_tokenizer

RECIPE, SUMMARY, TOKENIZER, LOCK = "recipe.json", "summary.json", "tokenizer", ".lock"

CHANGEABLE = re.compile(
    r"stages\.(\d+)(?:\.(?:steps|epochs|learning_rate|minimum|warmup_steps|weight_decay))?|optim\.(?:clip|weight_decay)"
)
"""Keys that a run may go on with another value of, where its user says so."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes from training in a folder; the lock goes with this process, however it ends.

    Raises:
        SetupError: somebody else trains there, or the folder holds something else.
    """
    if not (run / RECIPE).is_file() and run.is_dir() and any(path.name != LOCK for path in run.iterdir()):
        raise SetupError(f"{run} is not empty and holds no training run; name another folder")
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SetupError(f"{run} is in use by {file.read()}; wait until it ends, or name another folder") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def claim_folder(recipe: TrainingRecipe, run: Path, *, allow_change: bool = False) -> None:
    """Claim the run's folder and write its tokenizer, once, before any worker starts.

    Args:
        recipe: what to do.
        run: its folder.
        allow_change: go on although keys of `CHANGEABLE` have other values than before; recipe.json records them.

    Raises:
        SetupError: the folder is another recipe's, or there is nothing to train on.
    """
    folders = recipe.data.folders
    if not folders:
        raise SetupError("no dataset: name one with --data or under data.datasets")
    shards = [path for dataset in folders for path in shard_paths(dataset, recipe.data.train)]
    if not shards:
        raise SetupError(f"{', '.join(folders)}: no shard of split {recipe.data.train}")
    path, identity, changes = run / RECIPE, recipe.identity(), []
    if path.is_file():
        before = json.loads(path.read_text())
        changes = before.get("changes", [])
        if changed := sorted(_changed(before["identity"], identity)):
            at = checkpoint.read_state(folder) if (folder := checkpoint.latest(run)) else TrainingState()
            _refuse_change(run, recipe, at, changed, allow_change)
            values = {key: [_value(before["identity"], key), _value(identity, key)] for key in changed}
            changes = [*changes, {"step": at.step, "changed": values}]
    run.mkdir(parents=True, exist_ok=True)
    if not (run / TOKENIZER).is_dir():
        partial = run / ".tokenizer.partial"
        make_tokenizer(recipe.model, training_texts(recipe), partial)
        partial.replace(run / TOKENIZER)
    facts = {"identity": identity, "changes": changes, "commit": commit_id(), "machine": machine()}
    partial = run / f".{RECIPE}.partial"
    partial.write_text(json.dumps(recipe.model_dump(mode="json") | facts, indent=2) + "\n")
    partial.replace(path)
    checkpoint.delete_partial(run)


def training_texts(recipe: TrainingRecipe) -> Iterator[str]:
    """All texts that a run learns from, read when they are asked for: a tokenizer that is there needs none."""
    yield from texts(recipe.data.folders, recipe.data.train)
    for source in recipe.data.sources:
        found = read_texts(source)
        yield from (*found.questions, *found.answers)


def _changed(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Name the keys of two trees that differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {*before, *now}:
            yield from _changed(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif isinstance(before, list) and isinstance(now, list):
        for index, pair in enumerate(zip_longest(before, now)):
            yield from _changed(*pair, f"{key}.{index}")
    elif before != now:
        yield key


def _value(tree: Any, key: str) -> Any:
    """The value at a key such as stages.0.steps; None where there is none."""
    for name in key.split("."):
        if isinstance(tree, list):
            tree = tree[int(name)] if int(name) < len(tree) else None
        else:
            tree = (tree or {}).get(name)
    return tree


def _refuse_change(
    run: Path, recipe: TrainingRecipe, at: TrainingState, changed: Sequence[str], allow_change: bool
) -> None:
    """Let a run go on with other values only where that was asked for and can be done."""
    fixed = [key for key in changed if not CHANGEABLE.fullmatch(key)]
    if fixed:
        raise SetupError(f"{run} holds the run of another recipe: {', '.join(fixed)} differ; name another folder")
    if not allow_change:
        raise SetupError(
            f"{run} holds the run of another recipe: {', '.join(changed)} differ; name another folder, or go on with "
            "them with --allow-change"
        )
    over = [key for key in changed if key.startswith("stages.") and int(key.split(".")[1]) < at.stage]
    if over:
        raise SetupError(f"{run} has done the stage that {', '.join(over)} would change; name another folder")
    if len(recipe.stages) <= at.stage or 0 < recipe.stages[at.stage].steps < at.stage_step:
        raise SetupError(
            f"{run} has done {at.stage_step} steps of stages.{at.stage}; stages.{at.stage}.steps cannot be fewer"
        )


def read_summary(run: Path) -> dict[str, Any]:
    """Read what a finished run came to; its paths are those of today, wherever the folder was when it was written."""
    summary: dict[str, Any] = json.loads((run / SUMMARY).read_text())
    return summary | _paths(run)


def _paths(run: Path) -> dict[str, str | None]:
    best = run / checkpoint.BEST
    return {"run": str(run), "best": str(best) if best.exists() else None}


@dataclass
class Totals:
    """What this process has done so far."""

    first_step: int
    steps: int = 0
    positions: int = 0
    step_seconds: float = 0.0
    skipped: int = 0
    loss: float | None = None
    validation_loss: float | None = None

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Count a step."""
        self.steps += 1
        self.positions += metrics["positions"]
        self.step_seconds += metrics["seconds"]
        self.loss = metrics.get("loss", self.loss)
        self.skipped += metrics.get("skipped", 0)

    def summary(self, run: Path, at: TrainingState, seconds: float) -> dict[str, Any]:
        """Give the run's summary."""
        return {
            **_paths(run),
            **{key: value for key, value in asdict(at).items() if key in ("step", "best_step", "best_loss")},
            "loss": self.loss,
            "validation_loss": self.validation_loss,
            "steps_here": self.steps,
            "skipped_here": self.skipped,
            "positions": self.positions,
            "positions_per_s": round(self.positions / self.step_seconds, 1) if self.step_seconds else None,
            "seconds": round(seconds, 1),
        }
