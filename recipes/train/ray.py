"""Training on several workers: Ray Train starts the processes and joins them, each then runs `run_worker`."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anytalk.synth.errors import AnyTalkError, SetupError

from .logs import Log
from .recipe import TrainingRecipe


def train_on_ray(recipe: TrainingRecipe, run: Path, workers: int, logs: Sequence[Log]) -> None:
    """Train on a running cluster where there is one (RAY_ADDRESS), and else on this machine.

    Args:
        recipe: what to do.
        run: folder that `claim_folder` has seen; with several machines, on a file system that they share.
        workers: how many processes; each has a GPU where the cluster has any.
        logs: see `train.train`.

    Raises:
        SetupError: the cluster has too few cores or GPUs, or what `run_worker` raises.
        TrainingStopped: see `train.train`.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from .workers import GPU_BACKENDS

    started_here = not ray.is_initialized()
    if started_here:
        ray.init(
            address="auto" if os.environ.get("RAY_ADDRESS") else None,
            include_dashboard=False,
            logging_level=logging.ERROR,
        )
    try:
        resources = ray.cluster_resources()
        if resources.get("CPU", 0) < workers:
            raise SetupError(f"{workers} workers need as many cores; the cluster has {resources.get('CPU', 0):.0f}")
        gpus = resources.get("GPU", 0)
        if 0 < gpus < workers:
            raise SetupError(
                f"{workers} workers need as many GPUs; the cluster has {gpus:g}. Set --workers {int(gpus) or 1}, or "
                "CUDA_VISIBLE_DEVICES='' to train on CPUs"
            )
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"recipe": recipe.model_dump(mode="json"), "run": str(run), "logs": [*logs]},
            torch_config=TorchConfig(backend=GPU_BACKENDS if gpus else "gloo"),
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0),
            run_config=RunConfig(name="ray", storage_path=str(run)),
        )
        trainer.fit()
    except TrainingFailedError as error:
        if (ours := _ours(error)) is not None:
            raise ours from None
        raise
    finally:
        if started_here:
            ray.shutdown()


def _worker(config: dict[str, Any]) -> None:
    """Run in each of Ray's processes, which torch.distributed has joined."""
    from ray.train.torch import get_device

    from anytalk.pipelines.progress import reporter

    from .loop import run_worker
    from .workers import ProcessGroup

    recipe = TrainingRecipe.model_validate(config["recipe"])
    run_worker(recipe, Path(config["run"]), ProcessGroup.current(get_device()), reporter(), config["logs"])


def _ours(error: BaseException) -> AnyTalkError | None:
    """Find the error of ours that Ray wrapped, on whichever worker it was."""
    failures = [error, *getattr(error, "worker_failures", {}).values()]
    for failure in failures:
        for inner in (failure, failure.__cause__, getattr(failure, "_base_exc", None), getattr(failure, "cause", None)):
            if isinstance(inner, AnyTalkError):
                return inner
    return None
