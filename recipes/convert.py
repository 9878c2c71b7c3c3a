"""Checkpoints between anytalk's format and others: a new folder that is whole, or none."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

from anytalk.model import from_mini_omni, to_mini_omni
from anytalk.recipes.data import TOKENIZER
from anytalk.synth.errors import SetupError

READERS: dict[str, Callable[[Path, Path], object]] = {"mini-omni": from_mini_omni}
WRITERS: dict[str, Callable[[Path, Path], object]] = {"mini-omni": to_mini_omni}

_UNREADABLE = (ValueError, TypeError, AttributeError, RuntimeError, OSError, EOFError, pickle.UnpicklingError)
"""What a checkpoint raises that is none: in our words, or in those of torch, which unpickles whatever is there."""


def convert_checkpoint(source: Path, folder: Path, way: Callable[[Path, Path], object]) -> bool:
    """Convert a checkpoint.

    Args:
        source: its folder.
        folder: where the new one goes; must be empty or not exist. It is written beside, then renamed.
        way: an entry of `READERS` or `WRITERS`.

    Returns:
        Whether the new checkpoint has a tokenizer.

    Raises:
        SetupError: `source` is no such checkpoint, or `folder` holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SetupError(f"{folder} is not empty; name a new folder")
    partial = folder.resolve().with_name(f".{folder.resolve().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        way(source, partial)
        partial.replace(folder)
    except _UNREADABLE as error:
        raise SetupError(f"{source} cannot be converted: {_one_line(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return (folder / TOKENIZER).is_file()


def _one_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
