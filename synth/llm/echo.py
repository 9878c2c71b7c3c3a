"""Whether a text repeats the prompt, or talks about it, instead of doing what it asks for."""

import functools
import re

from anytalk.synth.text.word import words

NGRAM = 4
"""Words of a run that the prompt has as well. Shorter ones are common to any two texts."""

MAX_SHARE = 0.5
"""Of a text's words that may be in such runs."""

ABOUT = (
    "as an ai language model",
    "as a language model",
    "what the assistant says",
    "what the person says",
    "what the user says",
    "your answer here",
    "your question here",
    "here is the conversation",
    "here is a conversation",
)
"""What nobody says aloud: talk about the prompt, or a form that was not filled in."""


def echo_of(text: str, prompt: str) -> str | None:
    """Find what a text repeats of a prompt, or says about it.

    Args:
        text: what would be spoken.
        prompt: what the model was told, but for what it may repeat; a blank line parts texts that have nothing to do
            with each other.

    Returns:
        The piece that gives it away; None for a text of its own.

    >>> echo_of("Both sides are spoken, with everyday words.", "Both sides are spoken, with short words.")
    'both sides are spoken with'
    >>> echo_of("Rinse the rice until the water is clear.", "Both sides are spoken language.") is None
    True
    """
    said = words(text)
    plain = f" {' '.join(said)} "
    about = next((phrase for phrase in _about() if f" {phrase} " in plain), None)
    if about is not None:
        return about
    known = _ngrams_of(prompt)
    shared = [False] * len(said)
    for start in range(len(said) - NGRAM + 1):
        if tuple(said[start : start + NGRAM]) in known:
            shared[start : start + NGRAM] = [True] * NGRAM
    if not said or sum(shared) <= MAX_SHARE * len(said):
        return None
    first = shared.index(True)
    last = next((place for place in range(first, len(said)) if not shared[place]), len(said))
    return " ".join(said[first:last])


@functools.cache
def _about() -> tuple[str, ...]:
    return tuple(" ".join(words(phrase)) for phrase in ABOUT)


@functools.lru_cache(maxsize=64)
def _ngrams_of(prompt: str) -> frozenset[tuple[str, ...]]:
    parts = (words(part) for part in re.split(r"\n\s*\n", prompt))
    return frozenset(tuple(part[n : n + NGRAM]) for part in parts for n in range(len(part) - NGRAM + 1))
