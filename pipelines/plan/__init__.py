"""Phase 1: from a source to a committed plan."""

from .arrange import split_of
from .clean import in_spoken_form, text_problem
from .make import load_or_make
from .plan import Plan, PlannedRow, load_committed
from .similar import reject_similar
from .voices import answer_voice, question_voices, split_voices, voice_order

__all__ = [
    "Plan",
    "PlannedRow",
    "answer_voice",
    "in_spoken_form",
    "load_committed",
    "load_or_make",
    "question_voices",
    "reject_similar",
    "split_of",
    "split_voices",
    "text_problem",
    "voice_order",
]
