"""Rows of datasets as training samples and batches."""

from .loader import Candidates, Loader, Step, candidates
from .rows import MANIFEST, Encode, Encoding, Rows, mapped, read_encoding, shard_paths, texts
from .sample import Batch, Row, collate
from .tokenizer import TOKENIZER, encoder, load_tokenizer, tokenizer_files, train_tokenizer

__all__ = [
    "MANIFEST",
    "TOKENIZER",
    "Batch",
    "Candidates",
    "Encode",
    "Encoding",
    "Loader",
    "Row",
    "Rows",
    "Step",
    "candidates",
    "collate",
    "encoder",
    "load_tokenizer",
    "mapped",
    "read_encoding",
    "shard_paths",
    "texts",
    "tokenizer_files",
    "train_tokenizer",
]
