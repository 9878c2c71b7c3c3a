"""Read pairs: the bundled corpus, tables, recordings, datasets of the Hugging Face hub, or a mix of them.

A reader yields one `Pair` for each row of its source. What cannot be read as a pair is yielded as a `BadPair` with its
reason, so that nothing of the source is lost without a word. Readers hold one row at a time; what rows bring along
inside a table is laid aside by a `Keeper`.
"""

from .keep import Keeper, codes_of, read_recording
from .pair import BadPair, Pair, Recording
from .read import read_pairs, stamp
from .recordings import AUDIO_SUFFIXES

__all__ = [
    "AUDIO_SUFFIXES",
    "BadPair",
    "Keeper",
    "Pair",
    "Recording",
    "codes_of",
    "read_pairs",
    "read_recording",
    "stamp",
]
