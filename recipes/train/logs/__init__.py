"""What a run writes while it trains: metrics.jsonl, and TensorBoard or Weights & Biases where they are wanted."""

from .metrics import METRICS, MetricsLog, by_stream, note
from .numbers import LateNumbers
from .watcher import Log, require

__all__ = ["METRICS", "LateNumbers", "Log", "MetricsLog", "by_stream", "note", "require"]
