"""A training run: its folder is claimed, then one process trains, or several do through Ray Train."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.pipelines.recipe import Hub
from anytalk.synth.errors import SetupError

from .folder import claim_folder, locked, read_summary
from .logs import Log, require
from .loop import run_worker
from .lora import require_lora
from .recipe import TrainingRecipe
from .workers import ProcessGroup


def train(
    recipe: TrainingRecipe,
    out: str | Path,
    *,
    workers: int = 1,
    progress: Reporter | None = None,
    logs: Sequence[Log] = (),
    allow_change: bool = False,
) -> dict[str, Any]:
    """Train, or go on with a run.

    Args:
        recipe: what to do.
        out: folder of the run.
        workers: processes that share the work; more than one are started through Ray Train. Under `torchrun`, whose
            processes all call this function, leave it at 1.
        progress: who is told how far it is.
        logs: who gets the metrics besides metrics.jsonl: `tensorboard`, `wandb`.
        allow_change: go on although the schedule is another than before; see `folder.CHANGEABLE`.

    Returns:
        The run's summary: steps, losses, the best checkpoint, positions and positions a second.

    Raises:
        SetupError: the recipe, the datasets or the folder do not allow the run.
        MissingExtra: one of `logs` is not installed, or peft is not.
        TrainingStopped: the loss became NaN or infinite, or memory ran out.
    """
    require(logs)
    require_lora(recipe.lora)
    run = Path(out).absolute()
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(ProcessGroup.of_torchrun())
        if workers > 1 and group.world_size > 1:
            raise SetupError(f"torchrun has started {group.world_size} processes; leave --workers out")
        _share_steps(recipe, max(workers, group.world_size))

        def claim() -> None:
            stack.enter_context(locked(run))
            claim_folder(recipe, run, allow_change=allow_change)

        group.main_first(claim)
        if workers == 1:
            return run_worker(recipe, run, group, progress or Quiet(), logs)
        from .ray import train_on_ray

        train_on_ray(_located(recipe), run, workers, logs)
        return read_summary(run)


def _share_steps(recipe: TrainingRecipe, workers: int) -> None:
    """Refuse steps that the workers cannot share."""
    if (batches := recipe.loader.batches_per_step) % workers:
        raise SetupError(
            f"{workers} workers cannot share loader.batches_per_step {batches} equally; make it a multiple of {workers}"
        )


def _located(recipe: TrainingRecipe) -> TrainingRecipe:
    """Name local folders in full: Ray's workers have working directories of their own."""
    datasets = tuple(
        one.model_copy(update={"dataset": str(Path(one.dataset).absolute())}) for one in recipe.data.datasets
    )
    texts = tuple(
        one.model_copy(update={"source": one.source.model_copy(update={key: str(Path(value).absolute())})})
        if (key := "dataset" if isinstance(one.source, Hub) else "path")
        and Path(value := getattr(one.source, key)).exists()
        else one
        for one in recipe.data.texts
    )
    model = {
        name: str(Path(value).absolute())
        for name in ("checkpoint", "backbone")
        if (value := getattr(recipe.model, name)) and Path(value).is_dir()
    }
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"datasets": datasets, "texts": texts}),
            "model": recipe.model.model_copy(update=model),
        }
    )
