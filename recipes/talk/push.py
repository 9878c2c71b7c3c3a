"""A trained model on the Hugging Face hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anytalk.model import push_checkpoint
from anytalk.pipelines.push import hub_errors
from anytalk.synth.errors import SetupError

from .load import run_checkpoint

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class PushedModel:
    """What came of it."""

    repo: str
    url: str
    checkpoint: str
    """The folder that was sent."""


def push_model(run: str | Path, repo: str, *, public: bool = False, api: "HfApi | None" = None) -> PushedModel:
    """Send a checkpoint to a repository of the hub, which is made if there is none.

    Args:
        run: a checkpoint, or a training run, whose best checkpoint is meant.
        repo: OWNER/NAME.
        public: make a new repository for everybody to see; one that is there stays as it is.
        api: see `push_checkpoint`.

    Raises:
        SetupError: there is no checkpoint, or the hub refuses the name or the token.
        EngineError: the hub does not answer; the same call goes on.
    """
    folder = run_checkpoint(run)
    with hub_errors(repo):
        try:
            url = push_checkpoint(folder, repo, private=not public, api=api)
        except ValueError as error:
            if type(error) is not ValueError:  # the hub's own
                raise
            raise SetupError(str(error)) from error
    return PushedModel(repo, url, str(folder))
