"""Checkpoints of a run: written beside, then renamed, so that a folder with a number is whole.

RUN/checkpoints/step-00000500/
config.json, model.safetensors      what `MiniOmni.from_pretrained` reads
tokenizer.json                      what made its text ids
lora/                               the thin matrices of LoRA, where there are any; `from_pretrained` adds them
optimiser.safetensors, trainer.json what going on needs besides
RUN/best -> checkpoints/step-00000500   lowest validation loss of the latest stage
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from anytalk.model import MiniOmni, write_checkpoint
from anytalk.recipes.data import tokenizer_files
from anytalk.synth.errors import SetupError

from .lora import save_lora, without_lora
from .parts import load_optimiser_state, optimiser_state
from .recipe import TrainingRecipe
from .workers import ProcessGroup, gathered

FOLDER, BEST = "checkpoints", "best"
OPTIMISER, TRAINER = "optimiser.safetensors", "trainer.json"
FORMAT = "anytalk/training/1"


@dataclass(frozen=True)
class TrainingState:
    """Where a run is: everything but tensors that the next step depends on."""

    step: int = 0
    """Steps done, over all stages."""
    stage: int = 0
    """Index of the stage."""
    stage_step: int = 0
    """Steps done in it."""
    loader: Mapping[str, Any] | None = None
    """State of its loader."""
    best_step: int | None = None
    best_loss: float | None = None
    """Lowest validation loss of this stage, and where it was."""


def save(
    run: Path,
    state: TrainingState,
    model: MiniOmni,
    optimiser: torch.optim.Optimizer,
    named: Mapping[str, nn.Parameter],
    group: ProcessGroup,
    recipe: TrainingRecipe,
) -> None:
    """Write a checkpoint, mark the best, delete the oldest. All workers must call it; the first one writes.

    Args:
        run: folder of the run, with its tokenizer.
        state: where it is; `best_step` equal to `step` marks this checkpoint.
        model: may be sharded.
        optimiser: of the stage.
        named: parameters of the stage by name.
        group: the workers.
        recipe: of the run: how many checkpoints are kept, and whether there is LoRA.
    """
    aliases = model.aliases()
    weights = gathered({name: x for name, x in model.state_dict().items() if name not in aliases}, group)
    moments = gathered(optimiser_state(optimiser, named), group)
    if group.is_main:
        final = run / FOLDER / f"step-{state.step:08d}"
        partial = final.with_name(f".{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_checkpoint(partial, model.config.to_dict(), without_lora(weights), tokenizer_files(run / "tokenizer"))
        save_lora(partial, weights, recipe.lora, recipe.model.backbone)
        save_file({name: x.contiguous() for name, x in moments.items()}, partial / OPTIMISER)
        (partial / TRAINER).write_text(json.dumps({"format": FORMAT, **asdict(state)}, indent=2) + "\n")
        for path in partial.rglob("*"):
            _sync(path)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _sync(final.parent)
        if state.best_step in (None, state.step):
            _mark_best(run, final)
        _delete_oldest(run, recipe.checkpoint.keep)
    group.wait()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mark_best(run: Path, folder: Path) -> None:
    """Point `best` at a checkpoint; it points at the old one or the new one at any moment."""
    link = run / f".{BEST}.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.relative_to(run), target_is_directory=True)
    link.replace(run / BEST)


def _delete_oldest(run: Path, keep: int) -> None:
    best = (run / BEST).resolve()
    for folder in checkpoints(run)[:-keep]:
        if folder.resolve() != best:
            shutil.rmtree(folder)


def checkpoints(run: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted((run / FOLDER).glob("step-*"))


def latest(run: Path) -> Path | None:
    """The newest whole checkpoint, if there is one."""
    found = checkpoints(run)
    return found[-1] if found else None


def delete_partial(run: Path) -> None:
    """Delete what a killed run left half-written."""
    for partial in (run / FOLDER).glob(".step-*.partial"):
        shutil.rmtree(partial)


def read_state(folder: Path) -> TrainingState:
    """Read where a checkpoint is.

    Raises:
        SetupError: the folder is damaged.
    """
    try:
        values = json.loads((folder / TRAINER).read_text())
        if values.pop("format") != FORMAT:
            raise ValueError("it has another format")
        return TrainingState(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{folder} cannot be read: {error}; delete it to go on from the one before") from error


def load_optimiser(folder: Path, optimiser: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> None:
    """Fill an optimiser with a checkpoint's state.

    Raises:
        SetupError: it is not this stage's.
    """
    state = load_file(folder / OPTIMISER)
    if strange := sorted({name.rpartition("/")[0] for name in state} - named.keys()):
        raise SetupError(f"{folder / OPTIMISER} is of another stage: it holds {', '.join(strange[:4])}")
    load_optimiser_state(optimiser, named, state)
