"""Read a recipe: YAML, checked against a model, with overrides by dotted key.

Unknown keys, wrong types and values out of range are refused, all at once, each by its name. There are no import
paths in a recipe, so it cannot run code.
"""

import difflib
import json
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from anytalk.synth.errors import SetupError


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        if isinstance(value, str):
            return cls.spell_out(value)
        if isinstance(value, dict) and WHOLE in value:
            return cls.spell_out(value[WHOLE]) | {key: more for key, more in value.items() if key != WHOLE}
        return value


WHOLE = ""
"""Key that holds a section's shorthand once some of its keys were overridden."""

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
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(f"recipe {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise SetupError(f"recipe {path} must be a mapping of sections; got {type(tree).__name__}")
    for key, value in (overrides or {}).items():
        try:
            _set(tree, key.split("."), yaml.safe_load(value) if isinstance(value, str) else value)
        except yaml.YAMLError as error:
            raise SetupError(f"--set {key}: {value!r} is not a YAML value") from error
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise SetupError("\n".join(f"recipe {path.name}: {line}" for line in _problems(error, model))) from error


def _set(tree: dict[str, Any], keys: list[str], value: object) -> None:
    """Set one dotted key; a section that becomes of another kind forgets the keys of the old one."""
    for key in keys[:-1]:
        if isinstance(tree.get(key), str):
            tree[key] = {WHOLE: tree[key]}
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        if keys[-1] == "kind" and key == keys[-2] and tree[key].get("kind") != value:
            tree[key] = {}
        tree = tree[key]
    tree[keys[-1]] = value


def _problems(error: ValidationError, model: type[Section]) -> Iterator[str]:
    """One line for each problem: the key, what is wrong with it, the value."""
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "recipe"
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = _keys_at(problem["loc"][:-1], model)
            nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            yield f"unknown key {key}; " + (f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(known)}")
        elif problem["type"] == "missing":
            yield f"{key} is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{key}: {message[0].lower()}{message[1:]}; got {json.dumps(problem['input'], default=str)}"


def _keys_at(location: tuple[int | str, ...], model: type[Section]) -> list[str]:
    """Known keys of the section at a location."""
    section: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = typing.get_type_hints(section)[part]
        inner = [kind for kind in typing.get_args(annotation) if hasattr(kind, "__annotations__")]
        section = inner[0] if inner else annotation
    return list(typing.get_type_hints(section).keys() - {"model_config"})
