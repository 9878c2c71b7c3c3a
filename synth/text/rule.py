"""Rewriting rules: a pattern, and what is said for it.

A rule knows nothing of what stands around its piece: spaces and capitals are put right here.
"""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PASSES = 8
"""More than any text needs: expanding one piece may free another ("1Dr." becomes "one Dr.")."""


@dataclass(frozen=True)
class Rule:
    """What is said for each match of a pattern; None leaves the match as it is."""

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]


def rule(pattern: str, say: Callable[[re.Match[str]], str | None] | str) -> Rule:
    """Make a rule of a pattern and a function, or of words that are always the same."""
    if isinstance(say, str):
        words = say
        return Rule(re.compile(pattern), lambda _: words)
    return Rule(re.compile(pattern), say)


def apply(rules: Sequence[Rule], text: str) -> str:
    """Apply rules in their order, again and again until nothing changes."""
    for _ in range(PASSES):
        before = text
        for each in rules:
            text = _replace(each, text)
        if text == before:
            break
    return text


def _replace(each: Rule, text: str) -> str:
    def said(match: re.Match[str]) -> str:
        words = each.say(match)
        if words is None or words == match[0]:
            return match[0]
        start, end = match.span()
        if not words:
            return words
        if not match[0][0].islower() and re.search(r"(?:^|[.!?]\s)[\"“(]?$", text[:start]):
            words = words[0].upper() + words[1:]
        before, after = text[start - 1 : start], text[end : end + 1]
        left = " " if before.isalnum() and words[0].isalnum() else ""
        right = " " if after.isalnum() and words[-1].isalnum() else ""
        return left + words + right

    return each.pattern.sub(said, text)


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
