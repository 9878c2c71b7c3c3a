"""Phase 2: one work unit is spoken, listened to, judged and encoded."""

from .attempts import Attempt, Attempts, RowAttempts, read_back, read_change, read_chosen
from .crew import Assignment, Crew, unit_keys
from .crews import CrewLost, Crews, LocalCrews, RunStopped
from .dispatch import make_units, open_crews
from .engine import VoiceEngine
from .pool import STAGES, Engines, engines_of, instruction_set
from .reread import moved, read_unit, reread
from .reword import costs, open_reworder, total_usage
from .rows import UnitRows, facts_of
from .unit import make_unit
from .utterance import Utterance, said_by, utterance_of

__all__ = [
    "STAGES",
    "Assignment",
    "Attempt",
    "Attempts",
    "Crew",
    "CrewLost",
    "Crews",
    "Engines",
    "LocalCrews",
    "RowAttempts",
    "RunStopped",
    "UnitRows",
    "Utterance",
    "VoiceEngine",
    "costs",
    "engines_of",
    "facts_of",
    "instruction_set",
    "make_unit",
    "make_units",
    "moved",
    "open_crews",
    "open_reworder",
    "read_back",
    "read_change",
    "read_chosen",
    "read_unit",
    "reread",
    "said_by",
    "total_usage",
    "unit_keys",
    "utterance_of",
]
