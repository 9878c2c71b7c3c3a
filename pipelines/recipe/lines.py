"""Where keys stand in a YAML file, so that what is wrong with one is told with its line."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from anytalk.synth.errors import SetupError

Lines = Mapping[str, int]
"""Line of each dotted key, from 1; a number in a key is a place in a list."""

DEEPEST = 32
"""Levels of a file that are looked at: an alias may hold itself."""

KEY = re.compile(r"([a-z_]+(?:\.\w+)*): ")
"""What a message begins with that names its key."""


def lines_of_keys(text: str) -> dict[str, int]:
    r"""Find the line of each key; none in what is no YAML.

    >>> lines_of_keys("voices:\n  question: [a, b]\n")
    {'voices': 1, 'voices.question': 2, 'voices.question.0': 2, 'voices.question.1': 2}
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return {".".join(keys): line for keys, line in _walk(root, ())}


def repeated_key(text: str) -> tuple[str, int, int] | None:
    r"""Find a key that stands twice in one section, of which YAML would take the last without a word.

    Returns:
        The key, and the lines of it; None where there is none.

    >>> repeated_key("check: {attempts: 2}\nname: a\ncheck: {}\n")
    ('check', 1, 3)
    """
    waiting: list[tuple[tuple[str, ...], yaml.Node | None]] = [((), yaml.compose(text, Loader=yaml.SafeLoader))]
    while waiting:
        above, node = waiting.pop()
        if len(above) == DEEPEST or not isinstance(node, yaml.MappingNode | yaml.SequenceNode):
            continue
        if isinstance(node, yaml.SequenceNode):
            waiting += [((*above, str(place)), value) for place, value in enumerate(node.value)]
            continue
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in seen and key.value != "<<":
                return ".".join((*above, key.value)), seen[key.value], line
            seen[key.value] = line
            waiting.append(((*above, key.value), value))
    return None


def _walk(node: yaml.Node | None, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if len(above) == DEEPEST:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield (*above, key.value), key.start_mark.line + 1
                yield from _walk(value, (*above, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield (*above, str(place)), value.start_mark.line + 1
            yield from _walk(value, (*above, str(place)))


def line_of(key: str, lines: Lines) -> int | None:
    """Line of a key, or of the section that it stands or is missing in."""
    for pattern, short in _SHORT:
        if (written := pattern.sub(short, key)) != key and written.rpartition(".")[0] in lines:
            key = written
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return None


_SHORT = (
    (re.compile(r"^source\.parts\.(\d+)(\.source)?"), r"source.\1"),
    (re.compile(r"^augment\.steps\."), "augment."),
)
"""Sections that may be written as a list: their keys as pydantic names them, and as they stand in the file."""


def place_of(key: str, path: str | Path, lines: Lines, overridden: Mapping[str, object]) -> str:
    """What a message about a key begins with: `FILE:LINE` where the file says it, else `recipe FILE`."""
    if any(f"{key}.".startswith(f"{name}.") for name in overridden):
        return f"recipe {Path(path).name}"
    line = line_of(key, lines)
    return f"recipe {Path(path).name}" if line is None else f"{path}:{line}"


@contextlib.contextmanager
def pointing_at(path: Path | None, overridden: Mapping[str, object]) -> Iterator[None]:
    """Tell the line of the recipe with each message that begins with a key of it: `source.path: x does not exist`.

    Args:
        path: the recipe; None where there is no file.
        overridden: what options say, by dotted key.

    Raises:
        SetupError: as it was raised, with the places.
    """
    try:
        yield
    except SetupError as error:
        if path is None:
            raise
        lines = lines_of_keys(path.read_text(encoding="utf-8"))
        told = []
        for message in str(error).splitlines():
            key = found[1] if (found := KEY.match(message)) else ""
            known = key.partition(".")[0] in lines and not any(f"{key}.".startswith(f"{name}.") for name in overridden)
            told.append(f"{place_of(key, path, lines, overridden)}: {message}" if known else message)
        if told == str(error).splitlines():
            raise
        raise SetupError("\n".join(told)) from error
