"""The dataset on disk: its store, its schema, commits of units, the policy that it is judged by, its card."""

from . import commit, made_with, schema, tally
from .at_url import folder_at, local_file, read_url, state_of, store_at
from .card import dataset_card
from .commit import arrow_bytes, json_bytes
from .mapped import Mapped
from .policy import PLAN, Judgement, announce_judgement, current_judgement, differences, judgements, may_be_rejudged
from .read import MANIFEST, BuiltConversation, is_dataset, opened, rows_of
from .schema import (
    ANSWER_RATE_HZ,
    CODE_LAYERS,
    FRAME_SAMPLES,
    MEASURES,
    QUESTION_RATE_HZ,
    RATES_HZ,
    SCHEMA_VERSION,
    SIDES,
    matrix,
)
from .sidecars import Sidecars
from .store import StorageError, Store
from .tally import Outcome
from .where import Where, parse_where
from .writer import RowWriter

__all__ = [
    "ANSWER_RATE_HZ",
    "CODE_LAYERS",
    "FRAME_SAMPLES",
    "MANIFEST",
    "MEASURES",
    "PLAN",
    "QUESTION_RATE_HZ",
    "RATES_HZ",
    "SCHEMA_VERSION",
    "SIDES",
    "BuiltConversation",
    "Judgement",
    "Mapped",
    "Outcome",
    "RowWriter",
    "Sidecars",
    "StorageError",
    "Store",
    "Where",
    "announce_judgement",
    "arrow_bytes",
    "commit",
    "current_judgement",
    "dataset_card",
    "differences",
    "folder_at",
    "is_dataset",
    "json_bytes",
    "judgements",
    "local_file",
    "made_with",
    "matrix",
    "may_be_rejudged",
    "opened",
    "parse_where",
    "read_url",
    "rows_of",
    "schema",
    "state_of",
    "store_at",
    "tally",
]
