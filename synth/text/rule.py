"""Rewriting rules: a pattern, and what is said for it.

A rule knows nothing of what stands around its piece: spaces and capitals are put right here.
"""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PASSES = 8
"""More than any text needs: expanding one piece may free another ("1Dr." becomes "one Dr.")."""

_SENTENCE_START = re.compile(r"(?:\A|[.!?]\s)[\"“(]?\Z")


@dataclass(frozen=True)
class Rule:
    """What is said for each match of a pattern; None leaves the match as it is."""

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]

    def read(self, text: str, start: int) -> tuple[str, int] | None:
        """Words for what stands at a place of a text, and where it ends."""
        match = self.pattern.match(text, start)
        words = self.say(match) if match else None
        return None if match is None or words is None else (words, match.end())


Reader = Callable[[str, int], tuple[str, int] | None]
"""Gives the words for what stands at a place of a text, and where it ends; None if it cannot read it."""


def rule(pattern: str, say: Callable[[re.Match[str]], str | None] | str) -> Rule:
    """Make a rule of a pattern and a function, or of words that are always the same."""
    if isinstance(say, str):
        words = say
        return Rule(re.compile(pattern), lambda _: words)
    return Rule(re.compile(pattern), say)


def until_stable(step: Callable[[str], str], text: str) -> str:
    """Apply a step again and again until nothing changes."""
    for _ in range(PASSES):
        before = text
        text = step(text)
        if text == before:
            break
    return text


def apply(rules: Sequence[Rule], text: str) -> str:
    """Apply rules to a whole text, one after the other."""
    for each in rules:
        text = _replace(each, text)
    return text


def scan(readers: Sequence[Reader], starts: re.Pattern[str], text: str) -> str:
    """Read a text once from left to right: what one reader has taken, no other one sees.

    Args:
        readers: are asked in their order at each place; the first that can read it is taken.
        starts: pattern of the places where they may begin.
        text: any.
    """
    done: list[str] = []
    copied = position = 0
    while place := starts.search(text, position):
        start = place.start()
        for read in readers:
            found = read(text, start)
            if found is not None and found[1] > start:
                # What was read last may have taken a full stop that ended no sentence.
                before = (done[-1] if done else "") + text[copied:start]
                words = _fitted(*found, text, start, before[-3:] if len(before) > 2 or copied else text[:start])
                if done and copied == start and done[-1].endswith(" "):
                    words = words.removeprefix(" ")
                done += [text[copied:start], words]
                copied = position = found[1]
                break
        else:
            position = max(place.end(), start + 1)
    return "".join([*done, text[copied:]]) if done else text


def _replace(each: Rule, text: str) -> str:
    def said(match: re.Match[str]) -> str:
        words = each.say(match)
        before = match.string[max(0, match.start() - 3) : match.start()]
        return match[0] if words is None else _fitted(words, match.end(), match.string, match.start(), before)

    return each.pattern.sub(said, text)


def _fitted(words: str, end: int, text: str, start: int, last: str) -> str:
    """Words with a capital where a sentence starts, and set off from letters and digits beside them."""
    if not words or words == text[start:end]:
        return words
    if not text[start].islower() and _SENTENCE_START.search(last):
        words = words[0].upper() + words[1:]
    before, after = text[start - 1 : start], text[end : end + 1]
    left = " " if before.isalnum() and words[0].isalnum() else ""
    right = " " if after.isalnum() and words[-1].isalnum() else ""
    return left + words + right


def text_after(match: re.Match[str]) -> str:
    """Text that follows a match."""
    return match.string[match.end() :]


def any_of(words: Sequence[str]) -> str:
    """Pattern of any of some words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def spaced(match: re.Match[str], words: str) -> str:
    """Set the words of a symbol off from what stands beside it, but not from brackets and stops."""
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    left = " " if words and before and not before.isspace() and before not in "([{\"'“‘„" else ""
    right = " " if words and after and not after.isspace() and after not in ")]}\"'”’“.,;:!?" else ""
    return left + words + right
