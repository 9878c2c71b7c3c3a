"""Phase 2: one work unit is spoken, listened to, judged and encoded."""

from .attempts import Attempt, Attempts, RowAttempts, read_back, read_change, read_chosen
from .engine import VoiceEngine
from .pool import STAGES, Engines, open_engines
from .reword import costs, open_reworder, total_usage
from .rows import UnitRows, facts_of
from .unit import make_unit
from .utterance import Utterance, utterance_of

__all__ = [
    "STAGES",
    "Attempt",
    "Attempts",
    "Engines",
    "RowAttempts",
    "UnitRows",
    "Utterance",
    "VoiceEngine",
    "costs",
    "facts_of",
    "make_unit",
    "open_engines",
    "open_reworder",
    "read_back",
    "read_change",
    "read_chosen",
    "total_usage",
    "utterance_of",
]
