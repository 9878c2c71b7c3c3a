"""The record of a run: a JSON line for each step and evaluation, and what watches it besides, where that is wanted."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .watcher import Log, Watcher, watch

METRICS = "metrics.jsonl"


class MetricsLog:
    """metrics.jsonl, cut back to where the run goes on.

    Args:
        run: folder of the run.
        step: steps that the checkpoint has seen; lines of later ones are dropped, for they will come again.
        logs: who else gets them.
        recipe: the run's, for those who keep it.

    Raises:
        MissingExtra: one of `logs` is not installed.
        SetupError: one of `logs` does not start.
    """

    def __init__(self, run: Path, step: int, logs: Sequence[Log] = (), recipe: Mapping[str, Any] | None = None) -> None:
        self._watchers: list[Watcher] = [watch(log, run, step, recipe or {}) for log in logs]
        path = run / METRICS
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._file = path.open("a", buffering=1)

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Add a line."""
        self._file.write(json.dumps(metrics) + "\n")
        for watcher in self._watchers:
            watcher.write(metrics)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        for watcher in self._watchers:
            watcher.close()


def _lines(path: Path) -> list[str]:
    """Whole lines of a file; a killed run may have cut its last one."""
    if not path.is_file():
        return []
    return [line for line in path.read_text().split("\n")[:-1] if line]


def by_stream(sums: Sequence[float], counts: Sequence[float]) -> dict[str, float]:
    """Mean loss of each stream that has labels: `text`, `audio_0`, ..."""
    streams = [f"audio_{layer}" for layer in range(len(sums) - 1)] + ["text"]
    pairs = zip(streams, sums, counts, strict=True)
    return {name: total / count for name, total, count in pairs if count}


def note(metrics: Mapping[str, Any]) -> str:
    """What the progress bar says of a step."""
    text = f"text {metrics['text']:.2f} " if "text" in metrics else ""
    audio = [f"{value:.2f}" for key, value in metrics.items() if key.startswith("audio_")]
    losses = text + (f"audio {' '.join(audio)}" if audio else "")
    speed = f"{metrics['positions_per_s']:,.0f} positions/s, {metrics['share_of_peak']:.0%} of peak"
    return f"{metrics['stage']}: {losses.strip()}; {speed}"
