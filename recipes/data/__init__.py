"""Rows of datasets as training samples and batches."""

from .chat import system_chat, template_chat
from .codec import named_codec
from .loader import Candidates, Loader, Pool, Shares, Step, candidates, pools_of
from .rows import MANIFEST, Encode, Encoding, Rows, mapped, read_encoding, shard_paths, texts
from .sample import Batch, Row, collate
from .texts import TextPairs, TextSource, read_texts
from .tokenizer import TOKENIZER, encoder, load_tokenizer, tokenizer_files, train_tokenizer

__all__ = [
    "MANIFEST",
    "TOKENIZER",
    "Batch",
    "Candidates",
    "Encode",
    "Encoding",
    "Loader",
    "Pool",
    "Row",
    "Rows",
    "Shares",
    "Step",
    "TextPairs",
    "TextSource",
    "candidates",
    "collate",
    "encoder",
    "load_tokenizer",
    "mapped",
    "named_codec",
    "pools_of",
    "read_encoding",
    "read_texts",
    "shard_paths",
    "system_chat",
    "template_chat",
    "texts",
    "tokenizer_files",
    "train_tokenizer",
]
