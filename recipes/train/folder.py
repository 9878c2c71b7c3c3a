"""The folder of a training run: claimed by one recipe, and closed with a summary."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anytalk.recipes.data import shard_paths, texts
from anytalk.recipes.machine import commit_id, machine
from anytalk.synth.errors import SetupError

from . import checkpoint
from .checkpoint import TrainingState
from .recipe import TrainingRecipe
from .start import make_tokenizer

RECIPE, SUMMARY, TOKENIZER = "recipe.json", "summary.json", "tokenizer"


def claim_folder(recipe: TrainingRecipe, run: Path) -> None:
    """Claim the run's folder and write its tokenizer, once, before any worker starts.

    Raises:
        SetupError: the folder holds something else, or there is nothing to train on.
    """
    if not recipe.data.datasets:
        raise SetupError("no dataset: name one with --data or under data.datasets")
    shards = [path for dataset in recipe.data.datasets for path in shard_paths(dataset, recipe.data.train)]
    if not shards:
        raise SetupError(f"{', '.join(recipe.data.datasets)}: no shard of split {recipe.data.train}")
    path, identity = run / RECIPE, recipe.identity()
    if path.is_file():
        if changed := sorted(_changed(json.loads(path.read_text())["identity"], identity)):
            raise SetupError(f"{run} holds the run of another recipe: {', '.join(changed)} differ; name another folder")
    elif run.is_dir() and any(run.iterdir()):
        raise SetupError(f"{run} is not empty and holds no training run; name another folder")
    run.mkdir(parents=True, exist_ok=True)
    if not (run / TOKENIZER).is_dir():
        partial = run / ".tokenizer.partial"
        make_tokenizer(recipe.model, texts(recipe.data.datasets, recipe.data.train), partial)
        partial.replace(run / TOKENIZER)
    facts = {"identity": identity, "commit": commit_id(), "machine": machine()}
    path.write_text(json.dumps(recipe.model_dump(mode="json") | facts, indent=2) + "\n")
    checkpoint.delete_partial(run)


def _changed(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Name the keys of two trees that differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {*before, *now}:
            yield from _changed(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from _changed(*pair, f"{key}.{index}")
    elif before != now:
        yield key


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
    loss: float | None = None
    validation_loss: float | None = None

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Count a step."""
        self.steps += 1
        self.positions += metrics["positions"]
        self.step_seconds += metrics["seconds"]
        self.loss = metrics["loss"]

    def summary(self, run: Path, at: TrainingState, seconds: float) -> dict[str, Any]:
        """Give the run's summary."""
        return {
            **_paths(run),
            **{key: value for key, value in asdict(at).items() if key in ("step", "best_step", "best_loss")},
            "loss": self.loss,
            "validation_loss": self.validation_loss,
            "steps_here": self.steps,
            "positions": self.positions,
            "positions_per_s": round(self.positions / self.step_seconds, 1) if self.step_seconds else None,
            "seconds": round(seconds, 1),
        }
