"""One part of several of a dataset: machines that see the same folder or bucket share its units without a cluster."""

import re
from dataclasses import dataclass

from anytalk.synth.errors import SetupError


@dataclass(frozen=True)
class Part:
    """Every `of`-th unit, from the `number`-th; both count from 1.

    >>> list(Part(2, 3).units(8))
    [1, 4, 7]
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def units(self, count: int) -> range:
        """Numbers of its units, of so many in all."""
        return range(self.number - 1, count, self.of)


WHOLE = Part(1, 1)


def part_of(text: str) -> Part:
    """Read a part as it is written: `3/16`.

    Raises:
        SetupError: there is no such part.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise SetupError(f"--part {text!r} must be NUMBER/COUNT, from 1/COUNT to COUNT/COUNT, such as 3/16")
    return Part(int(found[1]), int(found[2]))
