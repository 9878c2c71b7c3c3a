"""Do two things that were encoded belong together? The fingerprints in shards and checkpoints say so."""

from collections.abc import Mapping
from typing import Any

_NAMES_ONLY = frozenset({"model", "language", "engine", "text_compute_type", "cpu_threads"})
"""Of a feature model: what it was called and how its transcripts were made. Weights and arithmetic decide the rest."""

_UNSAID = {"context": "full"}
"""What a fingerprint means that does not say it."""


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Name what differs between two fingerprints of one kind; an empty string if nothing that matters does.

    >>> difference({"model": "tiny.en", "width": 384}, {"model": "/a/tiny.en", "width": 384})
    ''
    >>> difference({"name": "snac", "revision": "1"}, {"name": "snac", "revision": "2"})
    "revision '2' instead of '1'"
    """
    ours, theirs = _UNSAID | dict(ours), _UNSAID | dict(theirs)
    keys = [key for key in sorted({*ours, *theirs}) if key not in _NAMES_ONLY and ours.get(key) != theirs.get(key)]
    return ", ".join(f"{key} {theirs.get(key)!r} instead of {ours.get(key)!r}" for key in keys)
