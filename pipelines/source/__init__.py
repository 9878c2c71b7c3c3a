"""Read pairs: the bundled corpus, tables, recordings, the Hugging Face hub, language models, or a mix of them.

A reader yields one `Pair` for each row of its source. What cannot be read as a pair is yielded as a `BadPair` with its
reason, so that nothing of the source is lost without a word. Readers hold one row at a time; what rows bring along
inside a table is laid aside by a `Keeper`.
"""

from anytalk.pipelines.source.llm.ask import LlmClient, cache_of
from anytalk.pipelines.source.llm.pairs import Found, examine, rewritten

from .hub import hub_rows
from .keep import Keeper, codes_of, read_recording
from .pair import BadPair, LatePair, Pair, Recording
from .read import read_pairs, stamp
from .recordings import AUDIO_SUFFIXES
from .table import table_rows

__all__ = [
    "AUDIO_SUFFIXES",
    "BadPair",
    "Found",
    "Keeper",
    "LatePair",
    "LlmClient",
    "Pair",
    "Recording",
    "cache_of",
    "codes_of",
    "examine",
    "hub_rows",
    "read_pairs",
    "read_recording",
    "rewritten",
    "stamp",
    "table_rows",
]
