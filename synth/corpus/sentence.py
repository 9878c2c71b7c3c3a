"""Sentences made from a small grammar: text for a codec to learn a voice from, in any amount.

The patterns and word lists are in `grammar.yaml`.
"""

import re
from importlib import resources

import numpy as np
import yaml

_SLOT = re.compile(r"\{([a-z]+?)2?\}")


def sentences(count: int, seed: int) -> list[str]:
    """Draw different sentences from the grammar.

    Args:
        count: how many.
        seed: the same seed gives the same sentences; a larger count only adds to them.

    Returns:
        `count` sentences of 6 to 20 words, no two alike.

    >>> sentences(1, seed=1) == sentences(2, seed=1)[:1]
    True
    """
    text = (resources.files(__package__) / "grammar.yaml").read_text(encoding="utf-8")
    grammar = yaml.safe_load(text)
    rng = np.random.default_rng(seed)

    def word(slot: re.Match[str]) -> str:
        words = grammar["words"][slot[1]]
        return str(words[rng.integers(len(words))])

    drawn: dict[str, None] = {}
    while len(drawn) < count:
        pattern = grammar["patterns"][rng.integers(len(grammar["patterns"]))]
        drawn[re.sub(r"\ba(?= [aeiou])", "an", _SLOT.sub(word, pattern))] = None
    return list(drawn)
