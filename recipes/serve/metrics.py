"""What a server measures about itself, in Prometheus' text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

from .engine import Answering, Engine
from .guard import Guard

FIRST_SOUND_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class Metrics:
    """Counts what one server does. `told` belongs to its engine, as `Engine.finished`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "anytalk_answers",
            "Answers by task and end (eoa, eot, limit, cancelled, failed).",
            ["task", "end"],
            registry=self._registry,
        )
        self._speech = Counter("anytalk_speech_seconds", "Speech that was made.", registry=self._registry)
        self._first_sound = Histogram(
            "anytalk_first_sound_seconds",
            "From a question to the first sound of its answer.",
            buckets=FIRST_SOUND_BUCKETS_S,
            registry=self._registry,
        )

    def told(self, answering: Answering, end: str) -> None:
        """Count an answer that is over."""
        self._answers.labels(answering.question.task.value, end).inc()
        self._speech.inc(answering.speech_s)
        if answering.first_sound_s is not None:
            self._first_sound.observe(answering.first_sound_s)

    def watch(self, engine: Engine, guard: Guard) -> None:
        """Show how busy a server is."""
        for name, what, value in (
            ("anytalk_sessions", "Sessions that are open.", lambda: guard.sessions.taken),
            ("anytalk_running", "Questions that are being answered.", lambda: engine.running),
            ("anytalk_waiting", "Questions that wait.", lambda: engine.queued),
        ):
            Gauge(name, what, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Give all of it, of the type `CONTENT_TYPE`."""
        return generate_latest(self._registry)


__all__ = ["CONTENT_TYPE", "Metrics"]
