"""Every error that anytalk raises on purpose.

    AnyTalkError
    ├── SetupError          the recipe, the folder or the machine is wrong: nothing has run yet   (exit code 2)
    │   └── MissingExtra    an optional engine is not installed; the message holds the pip line
    ├── SampleError         one row fails for good; it is kept with its reason and the run goes on
    └── EngineError         the machinery failed, not the row; the row is deferred to the next run (exit code 1)

Errors cross process boundaries by pickle, so every class with its own `__init__` has a `__reduce__`.
"""

import difflib
from collections.abc import Iterable


class AnyTalkError(Exception):
    """Base of every error that anytalk raises on purpose."""


class SetupError(AnyTalkError):
    """The recipe, the folder or the machine does not allow the run. Carries one problem a line."""


class MissingExtra(SetupError):
    """An optional dependency is not installed.

    Args:
        what: what needs it, as a person would say it ("the voice piper:joe").
        extra: the name of the extra that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} is not installed; run: pip install "anytalk[{extra}]"')
        self.what = what
        self.extra = extra

    def __reduce__(self) -> tuple[type["MissingExtra"], tuple[str, str]]:
        return type(self), (self.what, self.extra)


class SampleError(AnyTalkError):
    """A row fails a check for good.

    Args:
        reason: short slug that reports group by, such as `too_long`.
        detail: the value that failed and the bound that it broke.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["SampleError"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class EngineError(AnyTalkError):
    """An engine broke down (endpoint unreachable, worker lost): try the same row again later."""


def near_matches(name: str, known: Iterable[str]) -> str:
    """Say which known names are near to an unknown one, as the end of an error message.

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
