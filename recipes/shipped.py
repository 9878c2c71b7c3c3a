"""Recipes that ship with the package, found by name."""

import difflib
from importlib import resources
from pathlib import Path
from typing import Literal

import yaml

from anytalk.synth.errors import SetupError

Kind = Literal["build", "train", "codec"]
MADE_BY: dict[Kind, tuple[str, str]] = {
    "build": ("a dataset recipe", "anytalk build"),
    "train": ("a training recipe", "anytalk train"),
    "codec": ("a codec recipe", "anytalk codec train"),
}
"""What a recipe of each kind is called, and the command that takes it."""

OWN_SECTIONS: dict[Kind, set[str]] = {"build": {"source", "voices"}, "train": {"model", "stages"}, "codec": {"speech"}}
"""Sections that only recipes of a kind have, and that tell what a YAML file is."""


def find(name: str, kind: Kind) -> Path:
    """Path of a recipe: a YAML file as it is named, or a shipped recipe's.

    Args:
        name: a file, or the name of a recipe that ships.
        kind: what the recipe is to be of.

    Raises:
        SetupError: there is neither, or the recipe of that name is of another kind.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            _refuse_other_kind(Path(name), kind)
            return Path(name)
        raise SetupError(f"recipe {name} does not exist")
    shipped = {each: _shipped(each) for each in MADE_BY}
    if name in shipped[kind]:
        return shipped[kind][name]
    for other, recipes in shipped.items():
        if name in recipes:
            raise _other_kind(name, other)
    nearest = difflib.get_close_matches(name, shipped[kind], n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(shipped[kind])}; or name a .yaml file"
    raise SetupError(f"no {MADE_BY[kind][0].removeprefix('a ')} is called {name!r}; {hint}")


def _refuse_other_kind(path: Path, kind: Kind) -> None:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # What reads the recipe says what is wrong with it.
    if isinstance(tree, dict) and OWN_SECTIONS[kind].isdisjoint(tree):
        for other, sections in OWN_SECTIONS.items():
            if not sections.isdisjoint(tree):
                raise _other_kind(str(path), other)


def _other_kind(name: str, kind: Kind) -> SetupError:
    what, command = MADE_BY[kind]
    return SetupError(f"{name} is {what}; use it with: {command} {name}")


def _shipped(kind: Kind) -> dict[str, Path]:
    folder = Path(str(resources.files("anytalk.recipes") / "configs" / kind))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
