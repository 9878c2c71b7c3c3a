"""What somebody may have meant by an unknown name."""

import difflib
from collections.abc import Iterable


def near_matches(name: str, known: Iterable[str]) -> str:
    """Phrase the nearest known names as the end of a message.

    >>> near_matches("en-su", ["de", "en-us", "fr"])
    '; did you mean en-us?'
    >>> near_matches("xyz", ["de", "en-us", "fr"])
    '; known are de, en-us, fr'
    """
    candidates = sorted(known)
    near = difflib.get_close_matches(name, candidates, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    shown = ", ".join(candidates[:12])
    return f"; known are {shown}{', …' if len(candidates) > 12 else ''}"
