"""Texts that are alike: near-duplicates by MinHash, and evaluation texts by n-grams.

What is done to texts is in `words` of `synth.text.word`; why the signatures are our own is in docs/decisions/0006.
"""

from .evaluation import evaluation_stamp, evaluation_texts, index_of
from .finding import Finding, find_contamination, find_duplicates
from .gram import HashedTexts, jaccard, shingle_set
from .known import Known
from .minhash import Bands, bands_for
from .near_duplicate import Likeness, near_duplicates
from .ngram import Contamination, EvaluationIndex, EvaluationText, contaminations
from .spool import Document, Spool, conversations_of, spooled

__all__ = [
    "Bands",
    "Contamination",
    "Document",
    "EvaluationIndex",
    "EvaluationText",
    "Finding",
    "HashedTexts",
    "Known",
    "Likeness",
    "Spool",
    "bands_for",
    "contaminations",
    "conversations_of",
    "evaluation_stamp",
    "evaluation_texts",
    "find_contamination",
    "find_duplicates",
    "index_of",
    "jaccard",
    "near_duplicates",
    "shingle_set",
    "spooled",
]
