"""A checkpoint's files on the hub, in one commit, so that a repository never holds half a model."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from anytalk.model.checkpoint import (
    CONFIG_FILE,
    TOKENIZER_FILES,
    WEIGHTS,
    has_lora,
    read_config,
    read_weights,
    write_checkpoint,
)
from anytalk.model.config import MiniOmniConfig

from .card import CARD, new_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def push_checkpoint(folder: Path, repo: str, *, private: bool = True, api: "HfApi | None" = None) -> str:
    """Send a checkpoint to a repository, which is made if there is none: weights, config, tokenizer and card.

    What the repository has already is not sent again. LoRA that a run keeps apart is added to its weights. The card is
    the folder's, and a new one where neither the folder nor the repository has any.

    Args:
        folder: a checkpoint.
        repo: OWNER/NAME.
        private: of a new repository; one that is there stays as it is.
        api: the hub; by default that of HF_ENDPOINT, with the token of HF_TOKEN or of `hf auth login`.

    Returns:
        The repository's address.

    Raises:
        ValueError: the folder is no checkpoint.
        HfHubHTTPError: the hub refuses the name or the token, or does not answer.
    """
    if has_lora(folder):
        with TemporaryDirectory() as whole:
            return push_checkpoint(_merged_copy(folder, Path(whole)), repo, private=private, api=api)
    from huggingface_hub import CommitOperationAdd, HfApi

    config = MiniOmniConfig.from_dict(read_config(folder))
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} is not a checkpoint: it has no {WEIGHTS}")
    files = [name for name in (WEIGHTS, CONFIG_FILE, *TOKENIZER_FILES, CARD) if (folder / name).is_file()]
    api = api or HfApi()
    url = api.create_repo(repo, private=private, exist_ok=True)
    operations = [CommitOperationAdd(name, folder / name) for name in files]
    if CARD not in files and CARD not in api.list_repo_files(repo):
        operations.append(CommitOperationAdd(CARD, str(new_card(repo, config)).encode()))
    api.create_commit(repo, operations, commit_message="Upload a model")
    return str(url)


def _merged_copy(folder: Path, to: Path) -> Path:
    """Copy a checkpoint with LoRA added to its weights."""
    more = [folder / name for name in (*TOKENIZER_FILES, CARD) if (folder / name).is_file()]
    write_checkpoint(to, read_config(folder), read_weights(folder), more)
    return to
