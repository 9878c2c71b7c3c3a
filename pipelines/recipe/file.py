"""Read a recipe: YAML, checked against a model, with overrides by dotted key.

Unknown keys, wrong types and values out of range are refused, all at once, each by its name. There are no import
paths in a recipe, so it cannot run code.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from anytalk.synth.errors import SetupError

from .lines import Lines, lines_of_keys, place_of, repeated_key
from .problem import MAY_BE_SECRET, problems


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about unknown keys."""

    # Where a key was typed in by mistake, a trace must not show it either.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Shorthand(Section):
    """A section that may be written as one string."""

    @classmethod
    def spell_out(cls, value: str) -> dict[str, Any]:
        """Say what the string stands for."""
        raise TypeError(f"{cls.__name__} does not say what {value!r} stands for")

    @model_validator(mode="before")
    @classmethod
    def from_shorthand(cls, value: Any) -> Any:
        """Turn a string, or a string of which some keys were overridden, into a section."""
        return from_short(value, str, cls.spell_out)


NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Form of the names of recipes and stages, which name folders as well."""


def written_as(pattern: str, meaning: str) -> BeforeValidator:
    """Refuse a text of another form in words: a pattern says nothing to most people."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")
        return value

    return BeforeValidator(check)


Name = Annotated[
    str,
    Field(pattern=f"^{NAME}$"),
    written_as(NAME, "letters, digits, dots, hyphens and underscores, without spaces"),
]

WHOLE = ""
"""Key that holds a section's shorthand once some of its keys were overridden."""


def from_short(value: Any, short: type | tuple[type, ...], spell_out: Callable[[Any], dict[str, Any]]) -> Any:
    """Spell out what was written short, with the keys of it that were overridden.

    Args:
        value: as it stands in the recipe; what is not short comes back as it is.
        short: type of what is.
        spell_out: says what a short value stands for.
    """
    if isinstance(value, short):
        return spell_out(value)
    if isinstance(value, dict) and WHOLE in value:
        return spell_out(value[WHOLE]) | {key: more for key, more in value.items() if key != WHOLE}
    return value


SectionT = TypeVar("SectionT", bound=Section)


def read_recipe(path: str | Path, model: type[SectionT], overrides: Mapping[str, object] | None = None) -> SectionT:
    """Read a recipe and apply overrides.

    Args:
        path: a YAML file.
        model: what the recipe must be.
        overrides: values by dotted key, such as `{"voices.variants": 2}`; strings are read as YAML.

    Raises:
        SetupError: the file is missing or is no YAML, or keys or values are wrong; one line for each problem.
    """
    path = Path(path)
    if not path.is_file():
        raise SetupError(f"recipe {path} does not exist")
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
        twice = repeated_key(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date such as 2026-99-99
        raise SetupError(_yaml_problem(path, error)) from None
    if twice is not None:
        key, first, second = twice
        raise SetupError(f"{path}:{second}: the key {key} stands twice; line {first} has it already")
    if not isinstance(tree, dict):
        raise SetupError(f"recipe {path} must be a mapping of sections; got {type(tree).__name__}")
    return resolve(tree, str(path), model, overrides, lines_of_keys(text))


def resolve(
    tree: dict[str, Any],
    name: str,
    model: type[SectionT],
    overrides: Mapping[str, object] | None = None,
    lines: Lines | None = None,
) -> SectionT:
    """Apply overrides to a recipe that was read, and check it.

    Args:
        tree: sections as they stand in the file.
        name: of the recipe, for messages.
        model: what it must be.
        overrides: see `read_recipe`.
        lines: of its keys, where it is a file.

    Raises:
        SetupError: keys or values are wrong; one line for each problem.
    """
    tree = _unshared(tree)
    for key, value in (overrides or {}).items():
        try:
            _set(tree, _as_written(key, tree).split("."), yaml.safe_load(value) if isinstance(value, str) else value)
        except (yaml.YAMLError, ValueError, RecursionError):
            shown = "what it holds" if key.rpartition(".")[2] in MAY_BE_SECRET else repr(value)
            raise SetupError(f"--set {key}: {shown} is not a YAML value") from None
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        told = [
            f"{place_of(key, name, lines or {}, overrides or {})}: {problem}"
            for key, problem in problems(error, model, (overrides or {}).keys())
        ]
        raise SetupError("\n".join(told)) from error


SHORT_LISTS = {"source": "parts", "augment": "steps"}
"""Sections that may be written as a list: the key that the list has when the section is written out."""


def _as_written(key: str, tree: Mapping[str, Any]) -> str:
    """A key as it stands in a recipe that has a section written as a list: `source.0` for `source.parts.0`."""
    for section, entries in SHORT_LISTS.items():
        if isinstance(tree.get(section), list):
            key = re.sub(rf"^{section}\.{entries}\.(?=\d)", f"{section}.", key)
    return key


def _unshared(tree: Any) -> Any:
    """A copy in which no two keys hold the same mapping or list, as they do where a file has YAML's aliases."""
    if isinstance(tree, dict):
        return {key: _unshared(value) for key, value in tree.items()}
    return [_unshared(value) for value in tree] if isinstance(tree, list) else tree


def _yaml_problem(path: Path, error: Exception) -> str:
    """What is wrong with a file and where, without the line itself, which may hold a key."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{path}:{error.problem_mark.line + 1}: not YAML: {error.problem}"
    return f"recipe {path} is not YAML: {' '.join(str(error).split())}"


def _set(tree: dict[str, Any], keys: list[str], value: object) -> None:
    """Set one dotted key, of which a number is a place in a list: `stages.0.steps`.

    A section that becomes of another kind forgets the keys of the old one.

    Raises:
        SetupError: the list is not that long.
    """
    held: Any = tree
    for depth, (key, following) in enumerate(itertools.pairwise(keys), 1):
        place = _place_in(held, key, keys[:depth])
        below = held[place] if isinstance(held, list) else held.get(place)
        into_list = isinstance(below, list) and following.isdecimal()
        if isinstance(below, str | list) and not into_list:
            below = {WHOLE: below}
        if not isinstance(below, dict) and not into_list:
            below = {}
        if keys[-1] == "kind" and depth == len(keys) - 1 and below.get("kind") != value:
            below = {}
        held[place] = below
        held = below
    held[_place_in(held, keys[-1], keys)] = value


def _place_in(held: dict[str, Any] | list[Any], key: str, keys: list[str]) -> Any:
    """The key itself, or the place in a list that it counts."""
    if isinstance(held, dict):
        return key
    if int(key) >= len(held):
        name = ".".join(keys[:-1])
        raise SetupError(f"--set {'.'.join(keys)}: {name} has {len(held)} entries, counted from 0")
    return int(key)
