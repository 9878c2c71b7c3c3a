"""Programs that draw a run's figures: what they are asked for by, and what they take."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from anytalk.synth.errors import SetupError
from anytalk.synth.extra import import_extra

Log = Literal["tensorboard", "wandb"]


class Watcher(Protocol):
    """Takes a run's figures."""

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Take a step's, or an evaluation's."""

    def close(self) -> None:
        """Write what is buffered."""


def watch(log: Log, run: Path, step: int, recipe: Mapping[str, Any]) -> Watcher:
    """Start a watcher of a run.

    Args:
        log: which.
        run: folder of the run.
        step: steps that the checkpoint has seen.
        recipe: the run's.

    Raises:
        MissingExtra: it is not installed.
        SetupError: it does not start.
    """
    return TensorBoard(run, step) if log == "tensorboard" else WeightsAndBiases(run, recipe)


def require(logs: Sequence[Log]) -> None:
    """See that watchers are there, before anything is loaded.

    Raises:
        MissingExtra: one is not installed.
        SetupError: one is not known.
    """
    for log in logs:
        if log not in get_args(Log):
            raise SetupError(f"--log {log}: there are {' and '.join(get_args(Log))}")
        import_extra(log, {"tensorboard": "TensorBoard", "wandb": "Weights & Biases"}[log], log)


class TensorBoard:
    """Writes scalars into RUN/tensorboard.

    Args:
        run: folder of the run.
        step: steps that the checkpoint has seen; TensorBoard drops those of later ones, which will come again.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, run: Path, step: int) -> None:
        require(("tensorboard",))
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Write every number."""
        for key, value in _numbers(metrics).items():
            self._writer.add_scalar(key, value, metrics["step"])

    def close(self) -> None:
        """Write what is buffered."""
        self._writer.close()


class WeightsAndBiases:
    """Sends a run to Weights & Biases, or with WANDB_MODE=offline writes it into RUN/wandb, for `wandb sync`.

    A run that goes on is the same run there: its id stands in RUN/wandb.json. Project, entity and key are those of
    WANDB_PROJECT, WANDB_ENTITY and WANDB_API_KEY or `wandb login`; the project is `anytalk` by default.

    Args:
        run: folder of the run.
        recipe: kept as its config.

    Raises:
        MissingExtra: wandb is not installed.
        SetupError: it does not start, as when it has no key.
    """

    def __init__(self, run: Path, recipe: Mapping[str, Any]) -> None:
        require(("wandb",))
        import wandb

        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "anytalk"),
                name=os.environ.get("WANDB_NAME", run.name),
                id=_own_id(run),
                resume="allow",
                dir=str(run),
                config=dict(recipe),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except (wandb.errors.Error, OSError) as error:
            first = str(error).strip().partition("\n")[0]
            raise SetupError(
                f"--log wandb: {first}; run: wandb login, or set WANDB_MODE=offline and later: wandb sync"
            ) from error

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Send every number; an evaluation joins its step."""
        self._run.log(_numbers(metrics), step=metrics["step"])

    def close(self) -> None:
        """Send what is buffered."""
        self._run.finish()


def _own_id(run: Path) -> str:
    """The run's id there, which is drawn once."""
    path = run / "wandb.json"
    if not path.is_file():
        path.write_text(json.dumps({"id": secrets.token_hex(4)}) + "\n")
    return str(json.loads(path.read_text())["id"])


def _numbers(metrics: Mapping[str, Any]) -> dict[str, int | float]:
    return {key: value for key, value in metrics.items() if isinstance(value, int | float) and key != "step"}
