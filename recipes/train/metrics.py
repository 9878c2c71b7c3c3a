"""The record of a run: a JSON line for each step and evaluation, and TensorBoard where it is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from anytalk.synth.extra import import_extra

METRICS = "metrics.jsonl"


class Tensorboard:
    """Scalars for TensorBoard.

    Args:
        folder: where its event files go.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        import_extra("tensorboard", "TensorBoard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Write every number."""
        for key, value in metrics.items():
            if isinstance(value, int | float) and key != "step":
                self._writer.add_scalar(key, value, metrics["step"])

    def close(self) -> None:
        """Write what is buffered."""
        self._writer.close()


class MetricsLog:
    """metrics.jsonl, cut back to where the run goes on.

    Args:
        run: folder of the run.
        step: steps that the checkpoint has seen; lines of later ones are dropped, for they will come again.
        tensorboard: write RUN/tensorboard as well.

    Raises:
        MissingExtra: tensorboard is asked for and not installed.
    """

    def __init__(self, run: Path, step: int, tensorboard: bool = False) -> None:
        self._tensorboard = Tensorboard(run / "tensorboard") if tensorboard else None
        path = run / METRICS
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._file = path.open("a", buffering=1)

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Add a line."""
        self._file.write(json.dumps(metrics) + "\n")
        if self._tensorboard is not None:
            self._tensorboard.write(metrics)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


def _lines(path: Path) -> list[str]:
    """Whole lines of a file; a killed run may have cut its last one."""
    if not path.is_file():
        return []
    return [line for line in path.read_text().split("\n")[:-1] if line]


def by_stream(sums_K: Tensor, counts_K: Tensor) -> dict[str, float]:
    """Mean loss of each stream that has labels: `text`, `audio_0`, ..."""
    streams = [f"audio_{layer}" for layer in range(len(sums_K) - 1)] + ["text"]
    pairs = zip(streams, sums_K.tolist(), counts_K.tolist(), strict=True)
    return {name: total / count for name, total, count in pairs if count}


def note(metrics: Mapping[str, Any]) -> str:
    """What the progress bar says of a step."""
    text = f"text {metrics['text']:.2f} " if "text" in metrics else ""
    audio = [f"{value:.2f}" for key, value in metrics.items() if key.startswith("audio_")]
    losses = text + (f"audio {' '.join(audio)}" if audio else "")
    speed = f"{metrics['positions_per_s']:,.0f} positions/s, {metrics['share_of_peak']:.0%} of peak"
    return f"{metrics['stage']}: {losses.strip()}; {speed}"
