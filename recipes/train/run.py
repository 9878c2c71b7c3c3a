"""A training run: its folder is claimed, then one process trains, or several do through Ray Train."""

from pathlib import Path
from typing import Any

from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.synth.errors import SetupError

from .folder import claim_folder, read_summary
from .loop import run_worker
from .recipe import TrainingRecipe
from .workers import ProcessGroup


def train(
    recipe: TrainingRecipe,
    out: str | Path,
    *,
    workers: int = 1,
    progress: Reporter | None = None,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train, or go on with a run.

    Args:
        recipe: what to do.
        out: folder of the run.
        workers: processes that share the work; more than one are started through Ray Train.
        progress: who is told how far it is.
        tensorboard: write RUN/tensorboard as well.

    Returns:
        The run's summary: steps, losses, the best checkpoint, positions and positions a second.

    Raises:
        SetupError: the recipe, the datasets or the folder do not allow the run.
        TrainingStopped: the loss became NaN or infinite, or memory ran out.
    """
    run = Path(out).absolute()
    if recipe.loader.batches_per_step % workers:
        raise SetupError(
            f"{workers} workers cannot share loader.batches_per_step {recipe.loader.batches_per_step} equally"
        )
    claim_folder(recipe, run)
    if workers == 1:
        return run_worker(recipe, run, ProcessGroup.current(), progress or Quiet(), tensorboard)
    from .ray import train_on_ray

    train_on_ray(recipe, run, workers, tensorboard)
    return read_summary(run)
