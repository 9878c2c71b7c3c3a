"""Which policy a dataset is judged by.

A plan announces the policy that a dataset is built under. Every later judgement announces its own in a file that is
created whole or not at all, before a row moves; the last one counts. A unit belongs to a judgement by its sidecar, so a
dataset whose units are not all of the last one is being judged, and has no manifest until they are.
"""

import dataclasses
import json
from typing import Any

from pydantic import ValidationError

from anytalk.pipelines.recipe import ENDPOINT_ACCESS_KEYS, REJUDGED_KEYS, VOICE_TERMS_KEYS, Recipe
from anytalk.synth.errors import SetupError

from . import commit
from .store import Store

PLAN = "plan/plan.json"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One judgement of a dataset."""

    number: int
    """0 for the build, which attempts what its budget allows."""
    recipe: Recipe
    rerolls: bool
    """Whether rows that fail were given further attempts."""

    @property
    def paths(self) -> list[str]:
        """Its announcement and those of the judgements before it, of which units can be made again."""
        return [path_of(number) for number in range(1, self.number + 1)]


def path_of(number: int) -> str:
    """Where a judgement is announced."""
    return f"plan/judgement-{number:06d}.json"


def current_judgement(store: Store) -> Judgement:
    """The judgement that was announced last; see `judgements`."""
    return judgements(store)[-1]


def judgements(store: Store) -> list[Judgement]:
    """The build and all later judgements, in their order.

    Raises:
        SetupError: the dataset was made by another version of anytalk, whose recipe means something else.
    """
    stored = json.loads(store.read(PLAN))["recipe"]
    numbered = [path for path in store.files("plan") if path.startswith("plan/judgement-") and path.endswith(".json")]
    announced = [{"number": 0, "rerolls": True}, *(json.loads(store.read(path)) for path in numbered)]
    try:
        return [
            Judgement(
                one["number"],
                Recipe.model_validate(stored | ({"check": one["check"]} if "check" in one else {})),
                one["rerolls"],
            )
            for one in announced
        ]
    except ValidationError as error:
        raise SetupError(
            f"{store} was made by another version of anytalk, whose recipes are not those of this one "
            f"({error.errors()[0]['msg']}); build it into another folder"
        ) from None


def announce_judgement(judgement: Judgement, store: Store) -> None:
    """Announce a judgement; the build's is in its plan.

    Raises:
        SetupError: somebody else announced another one at the same time.
    """
    if judgement.number == 0:
        return
    content = {
        "number": judgement.number,
        "check": judgement.recipe.model_dump(mode="json")["check"],
        "rerolls": judgement.rerolls,
    }
    if store.create(path_of(judgement.number), commit.json_bytes(content)):
        return
    first = current_judgement(store)
    same = (first.number, first.rerolls, first.recipe.check)
    if same != (judgement.number, judgement.rerolls, judgement.recipe.check):
        raise SetupError(f"{store} is being judged by another policy at this moment; try again when that has ended")


def differences(wanted: Recipe, stored: Recipe) -> dict[str, Any]:
    """What one recipe says otherwise than another, by dotted key, where it can change a byte."""
    found = _flatten(_comparable(stored))
    tree = _flatten(_comparable(wanted))
    return {key: tree.get(key) for key in tree | found if tree.get(key) != found.get(key)}


def may_be_rejudged(key: str) -> bool:
    """Whether `anytalk judge` may change a key."""
    section, _, rest = key.partition(".")
    return section == "check" and rest.partition(".")[0] in REJUDGED_KEYS


def _comparable(recipe: Recipe) -> dict[str, Any]:
    left_out = {"resources": True, "report": True, "voices": VOICE_TERMS_KEYS, "reword": ENDPOINT_ACCESS_KEYS}
    return recipe.model_dump(mode="json", exclude=left_out)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in _flatten(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): tree}
