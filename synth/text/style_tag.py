"""Style tags such as `<laugh>` and `[sigh]`: named sounds within a text, which some voices make and nobody spells."""

import re
from collections.abc import Callable, Sequence
from functools import cache

FORM = r"[<\[({*][^<>\[\](){}*]{1,30}[>\])}*]"
"""What a tag looks like: a name between brackets or asterisks."""


def without_tags(text: str, tags: Sequence[str]) -> str:
    """Leave tags out of a text.

    Args:
        text: any text.
        tags: as they stand in it.

    >>> without_tags("Well <laugh>, why not? [sigh]", ["<laugh>", "[sigh]"])
    'Well, why not?'
    """
    pattern = _pattern(tuple(tags))
    if pattern is None or not pattern.search(text):
        return text
    return _tidy(pattern.sub(" ", text))


def around_tags(text: str, tags: Sequence[str], change: Callable[[str], str]) -> str:
    """Change the text between tags, and leave the tags as they are.

    >>> around_tags("Well <laugh>, at 5.", ["<laugh>"], lambda part: part.replace("5", "five"))
    'Well <laugh>, at five.'
    """
    pattern = _pattern(tuple(tags))
    if pattern is None or not pattern.search(text):
        return change(text)
    # At odd places stand the tags.
    parts = pattern.split(text)
    said = [part if place % 2 or not part.strip() else change(part.strip()) for place, part in enumerate(parts)]
    return _tidy(" ".join(said))


def _tidy(text: str) -> str:
    return re.sub(r"\s+([,.!?;:…])", r"\1", " ".join(text.split()))


@cache
def _pattern(tags: tuple[str, ...]) -> re.Pattern[str] | None:
    longest_first = sorted(tags, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if tags else None
