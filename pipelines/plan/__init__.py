"""Phase 1: from a source to a committed plan."""

from .ahead import Ahead
from .arrange import split_of
from .clean import in_spoken_form, split_share, text_problem
from .growing import GrowingPlan, is_planned, load_or_make
from .plan import (
    PLAN_SCHEMA,
    PLAN_SCHEMA_WITH_SPEAKERS,
    Plan,
    PlannedRow,
    load_committed,
    refuse_derived,
    row_values,
)
from .sample import commit_sample, pair_s, said_s, spread
from .similar import reject_similar
from .voices import answer_voice, question_voices, split_voices, voice_order

__all__ = [
    "PLAN_SCHEMA",
    "PLAN_SCHEMA_WITH_SPEAKERS",
    "Ahead",
    "GrowingPlan",
    "Plan",
    "PlannedRow",
    "answer_voice",
    "commit_sample",
    "in_spoken_form",
    "is_planned",
    "load_committed",
    "load_or_make",
    "pair_s",
    "question_voices",
    "refuse_derived",
    "reject_similar",
    "row_values",
    "said_s",
    "split_of",
    "split_share",
    "split_voices",
    "spread",
    "text_problem",
    "voice_order",
]
