"""Read pairs: the bundled corpus, tables, recordings, the Hugging Face hub, language models, or a mix of them.

A reader yields one `Pair` for each row of its source. What cannot be read as a pair is yielded as a `BadPair` with its
reason, so that nothing of the source is lost without a word. Readers hold one row at a time; what rows hold
inside a table, such as audio, is stored by `Attachments`.
"""

from .attachment import Attachments, codes_of, read_recording
from .encoding import lines_of
from .hub import HUB_ID, hub_rows
from .llm import LlmClient, cache_of, examine, llm_conversations, rewritten
from .pair import BadPair, DeferredPair, Pair, Recording, SourceRow
from .read import deal, read_pairs
from .recordings import AUDIO_SUFFIXES, source_in
from .rows import as_flow, chat_kind, column_names, table_rows
from .stamp import Stamp, stamp
from .table import guessed_columns

__all__ = [
    "AUDIO_SUFFIXES",
    "HUB_ID",
    "Attachments",
    "BadPair",
    "DeferredPair",
    "LlmClient",
    "Pair",
    "Recording",
    "SourceRow",
    "Stamp",
    "as_flow",
    "cache_of",
    "chat_kind",
    "codes_of",
    "column_names",
    "deal",
    "examine",
    "guessed_columns",
    "hub_rows",
    "lines_of",
    "llm_conversations",
    "read_pairs",
    "read_recording",
    "rewritten",
    "source_in",
    "stamp",
    "table_rows",
]
