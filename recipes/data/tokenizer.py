"""Tokenizers: trained on a dataset's texts, read from a folder, and what they make of texts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from anytalk.synth.errors import SetupError

from .rows import Encode

TOKENIZER = "tokenizer.json"


_TOKENIZER_FILES = (
    TOKENIZER,
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE: any text can be written with it, none needs an unknown token.

    Args:
        texts: the corpus.
        vocabulary: at most so many tokens, 256 of them bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokenizer_files(folder: Path) -> list[Path]:
    """Files of a tokenizer that lie in a folder."""
    return [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a run or a checkpoint.

    Raises:
        SetupError: the folder has none.
    """
    if not (folder / TOKENIZER).is_file():
        raise SetupError(f"{folder} has no {TOKENIZER}")
    return Tokenizer.from_file(str(folder / TOKENIZER))


def encoder(tokenizer: Tokenizer) -> Encode:
    """Give the function that turns texts into ids, without the tokenizer's own special tokens."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return encode
