"""What is wrong with a recipe, told by its keys: one line for each mistake, and none that only follows from another."""

import dataclasses
import datetime
import difflib
import json
import re
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .lines import KEY

ROOT = "recipe"
"""Key of what is wrong with the recipe as a whole."""

MAY_BE_SECRET = ("api_key_env", "base_url")
"""Keys into which people put a key or a password by mistake: what they hold is never shown."""

_BRANCH = re.compile(r"[a-z-]+\[.*\]", re.DOTALL)
"""How pydantic names a way to read a value that may be written in several: `dict[str,float]`, `literal['all']`."""

_SHAPES = {
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "is_instance_of": "a list",
    "string_type": "text",
}
"""What a value would have to be, by pydantic's name of the error."""

_WORDS = {
    "a valid boolean": "true or false",
    "a valid dictionary": "a mapping",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "an instance of Sequence": "a list",
}
"""What pydantic calls types, and what a recipe's reader does."""

_NO_SECTION = ("model_type", "model_attributes_type", "dataclass_type", "dataclass_exact_type")
SHOWN_KEYS = 4

Location = tuple[int | str, ...]
Problem = tuple[str, str]
"""A key, and one line: the key, what is wrong with it, the value."""


def problems(error: ValidationError, model: type[BaseModel], overridden: Collection[str] = ()) -> Iterator[Problem]:
    """Tell each mistake once.

    Args:
        error: as pydantic raised it.
        model: of the recipe.
        overridden: keys that options set, not the file.
    """
    details = _without_noise(error.errors())
    for base, branches in _by_value(details):
        if len(branches) > 1 or _branch_at(branches[0]["loc"]) is not None:
            yield from _of_union(base, branches, model, overridden)
        else:
            yield _told(branches[0], branches[0]["loc"], model, overridden)


def _without_noise(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where an entry of it is wrong: pydantic counts the good ones."""
    places = [detail["loc"] for detail in details]

    def follows(detail: ErrorDetails) -> bool:
        here = detail["loc"]
        return detail["type"] == "too_short" and any(len(at) > len(here) and at[: len(here)] == here for at in places)

    return [detail for detail in details if not follows(detail)]


def _branch_at(location: Location) -> int | None:
    """Where a place names a way to read a value; None where there is one way only."""
    for at, part in enumerate(location):
        if isinstance(part, str) and part != "[key]" and _BRANCH.fullmatch(part):
            return at
    return None


def _by_value(details: Sequence[ErrorDetails]) -> Iterator[tuple[Location, list[ErrorDetails]]]:
    """Errors of a value that may be written in several ways together, in the order of the first; others alone."""
    groups: dict[Location, list[ErrorDetails]] = {}
    for number, detail in enumerate(details):
        at = _branch_at(detail["loc"])
        groups.setdefault((*detail["loc"], number) if at is None else detail["loc"][:at], []).append(detail)
    yield from groups.items()


def _of_union(
    base: Location, details: Sequence[ErrorDetails], model: type[BaseModel], overridden: Collection[str]
) -> Iterator[Problem]:
    """Of a value that may be written in several ways: what is wrong in the way that it is written in."""
    deeper = [detail for detail in details if len(detail["loc"]) > len(base) + 1]
    if deeper:
        for detail in deeper:
            yield _told(detail, (*base, *detail["loc"][len(base) + 1 :]), model, overridden)
        return
    key, _, _ = _place(base, model)
    wanted = [
        detail["ctx"]["expected"] if detail["type"] == "literal_error" else _SHAPES.get(detail["type"], detail["msg"])
        for detail in details
    ]
    yield key, f"{key}: must be {' or '.join(dict.fromkeys(wanted))}; got {_shown(details[0]['input'])}"


def _told(detail: ErrorDetails, location: Location, model: type[BaseModel], overridden: Collection[str]) -> Problem:
    """One mistake, in words of recipes."""
    key, section, choices = _place(tuple(part for part in location if part != "[key]"), model)
    kind, held, context = detail["type"], detail["input"], detail.get("ctx", {})
    is_option = any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in overridden)
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return key, f"unknown key {key}; {_nearest(key, section, model)}"
    if location[-1:] == ("[key]",):
        return key, f"unknown key {key}; known: {context.get('expected', '').replace(chr(39), '')}"
    if kind == "missing":
        # A list may be a shorthand, and its entries stand elsewhere in the file.
        hint = "" if any(map(str.isdigit, key.split("."))) else f"; give it with --set {key}=..."
        return key, f"{key} is missing{hint}"
    if kind == "union_tag_not_found":
        return key, f"{key}.kind is missing"
    if kind == "union_tag_invalid":
        known = re.findall(r"'([^']*)'", context["expected_tags"])
        return f"{key}.kind", f"{key}.kind: there is no kind {context['tag']!r}{_near(context['tag'], known)}"
    if kind in ("tuple_type", "list_type"):
        told = (
            f"must be a list, as in --set '{key}=[...]'; --set {key}.0=... replaces an entry"
            if is_option
            else "must be a list: one entry a line after a hyphen, or [...]"
        )
        return key, f"{key}: {told}; got {_shown(held)}"
    if kind in _NO_SECTION:
        return key, f"{key}: must be {_section_in_words(choices)}; got {_shown(held, hide=True)}"
    if kind in ("too_short", "too_long"):
        bound = "at least" if kind == "too_short" else "at most"
        wanted = context["min_length" if kind == "too_short" else "max_length"]
        return key, f"{key}: must hold {bound} {wanted}; it holds {len(held)}"
    if kind == "string_type" and isinstance(held, bool | int | float | datetime.date):
        return key, f"{key}: must be text; YAML reads this as {_shown(held)}, so put it in quotation marks"
    message = _in_words(detail["msg"])
    if key == ROOT:
        found = KEY.match(message)
        return (found[1] if found else ROOT), message
    # Of what is wrong with a whole section, the message names the values that matter; others may be secret.
    is_shown = not isinstance(held, Mapping) and detail["loc"][-1] not in MAY_BE_SECRET
    return key, f"{key}: {message[0].lower()}{message[1:]}{f'; got {_shown(held)}' if is_shown else ''}"


def _in_words(message: str) -> str:
    """Pydantic's message, shorter."""
    message = re.sub(r", unable to .*$", "", message.removeprefix("Value error, "))
    message = re.sub(r"^Input should (?=be|match)", "must ", message)
    for types, word in _WORDS.items():
        message = message.replace(types, word)
    return message


def _shown(held: object, *, hide: bool = False) -> str:
    """A value as it would stand in the file; only what it is, where a password may be in it."""
    if hide and isinstance(held, str) and "://" in held:
        return "a URL"
    return json.dumps(held, default=str)


def _nearest(key: str, section: type[Any], model: type[BaseModel]) -> str:
    """What a key that does not exist may have been meant to be."""
    above, _, name = key.rpartition(".")
    known = _names(section)
    if near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        return f"did you mean {near[0]}?"
    if below := _keys_called(name, section, f"{above}." if above else ""):
        as_near = [each for each in below if each.count(".") == below[0].count(".")]
        return f"did you mean {' or '.join(as_near[:2])}?"
    near = difflib.get_close_matches(name, known, n=1) or _keys_called(name, model)[:1]
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def _section_in_words(choices: Sequence[type[Any]]) -> str:
    """What a section is, for whoever did not write one: some of its keys."""
    known = ["kind"] if len(choices) > 1 else _names(choices[0]) if choices else []
    keys = ", ".join([*known[:SHOWN_KEYS], *(["..."] if len(choices) > 1 or len(known) > SHOWN_KEYS else [])])
    short = "a name, or " if any(hasattr(choice, "spell_out") for choice in choices) else ""
    return f"{short}a section with the keys {keys}" if keys else f"{short}a section"


def _names(section: type[Any]) -> list[str]:
    """Keys of a section."""
    if issubclass(section, BaseModel):
        return list(section.model_fields)
    return [field.name for field in dataclasses.fields(section)]


def _keys_called(name: str, model: type[Any], above: str = "") -> list[str]:
    """Keys of this name in sections within a section, by what stands above them."""
    found = []
    for key, annotation in typing.get_type_hints(model).items():
        for section in _sections(annotation):
            if name in typing.get_type_hints(section):
                found.append(f"{above}{key}.{name}")
            found += _keys_called(name, section, f"{above}{key}.")
    return sorted(dict.fromkeys(found), key=lambda key: key.count("."))


def _place(location: Location, model: type[BaseModel]) -> tuple[str, type[Any], list[type[Any]]]:
    """Dotted key of a place that pydantic names, the section that it stands in, and the sections that it may be."""
    keys: list[str] = []
    section: type[Any] = model
    choices = [section]
    for part in location:
        if len(choices) > 1 and isinstance(part, str):
            # Of a section that comes in several kinds, pydantic names the kind as if it were a key.
            choices = [choice for choice in choices if part in typing.get_args(choice.model_fields["kind"].annotation)]
            continue
        keys.append(str(part))
        if choices:
            section, hints = choices[0], typing.get_type_hints(choices[0])
            if part in hints:  # Else it is a place in a list, or a key of a mapping.
                choices = _sections(hints[str(part)])
    return ".".join(keys) or ROOT, section, choices


def _sections(annotation: Any) -> list[type[Any]]:
    """Every section or dataclass that an annotation allows."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return [annotation]
    return [section for inner in typing.get_args(annotation) for section in _sections(inner)]
