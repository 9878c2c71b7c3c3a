"""What everything that a server does for its clients shares."""

from dataclasses import dataclass

from anytalk.synth.judge.vad import SileroVad

from .archive import Archive
from .engine import Engine
from .limits import Limits
from .metrics import Metrics


@dataclass(frozen=True)
class House:
    """What all sessions of a server share.

    Args:
        engine: answers.
        vad: finds speech.
        limits: of each session.
        model: its name.
        context_turns: earlier turns that a question gets; what the model was trained with.
        metrics: counts answers.
        archive: where turns are saved; None for nowhere.
    """

    engine: Engine
    vad: SileroVad
    limits: Limits
    model: str
    metrics: Metrics
    context_turns: int = 0
    archive: Archive | None = None
