"""Paths that crews must see: what is on the disk of the driver is not there on every machine of a cluster."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from anytalk.pipelines.dataset import PLAN, SIDES, Store
from anytalk.pipelines.plan import Plan
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.errors import SetupError

SECTIONS = {"voices", "check", "augment", "codec", "features"}
"""Of a recipe, that name what crews load. Sources and texts to compare with are read by the driver."""


def paths_of(recipe: Recipe, store: Store) -> list[str]:
    """Every path that exists here and that crews need: of models, references and noises, and of the dataset."""
    named = {str(Path(path).absolute()) for path in _texts(recipe.model_dump(mode="json", include=SECTIONS))}
    return sorted(named) + ([store.full(PLAN)] if store.local else [])


def refuse_unseen(paths: Sequence[str]) -> None:
    """See that all paths are on this machine.

    Raises:
        SetupError: some are not; one line for each.
    """
    if unseen := [path for path in paths if not Path(path).exists()]:
        raise SetupError("\n".join(map(_unseen, unseen)))


def refuse_unseen_recordings(plan: Plan) -> None:
    """See that recordings of the first unit are on this machine. One that is missing everywhere is no reason to stop.

    Raises:
        SetupError: none of them is.
    """
    recordings = (
        [getattr(row.pair, f"{side}_recording") for row in plan.units[0] for side in SIDES] if plan.rows else []
    )
    paths = [recording.path for recording in recordings if recording is not None and "://" not in recording.path]
    if paths and not any(Path(path).exists() for path in paths):
        raise SetupError(_unseen(paths[0]))


def _unseen(path: str) -> str:
    return (
        f"{path} is not on {socket.gethostname()}: on a cluster of several machines it must lie on a file system that "
        "all of them share"
    )


def _texts(tree: object) -> Iterator[str]:
    """All texts in a tree that are paths of something that exists, without the engine that may stand before one."""
    if isinstance(tree, dict | list):
        parts: Iterable[object] = tree.values() if isinstance(tree, dict) else tree
        for part in parts:
            yield from _texts(part)
    elif isinstance(tree, str):
        yield from (text for text in (tree, tree.partition(":")[2]) if text and _exists(text))


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False
