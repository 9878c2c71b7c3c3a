"""The sidecars of a dataset's units in a fifth of the memory of what they say: as JSON, read when one is looked at."""

import json
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import Any


class Sidecars(MutableMapping[int, dict[str, Any]]):
    """Sidecars by the number of their unit. What one says is read anew whenever it is looked at.

    Args:
        content: bytes of each, as they are stored.
    """

    def __init__(self, content: Mapping[int, bytes] | None = None) -> None:
        self._content = dict(content or {})

    def __getitem__(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._content[number])
        return found

    def __setitem__(self, number: int, sidecar: Mapping[str, Any]) -> None:
        self._content[number] = json.dumps(sidecar, ensure_ascii=False, separators=(",", ":")).encode()

    def __delitem__(self, number: int) -> None:
        del self._content[number]

    def __contains__(self, number: object) -> bool:
        return number in self._content

    def __iter__(self) -> Iterator[int]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __or__(self, others: "Sidecars") -> "Sidecars":
        return Sidecars(self._content | others._content)

    def only(self, numbers: Collection[int]) -> "Sidecars":
        """Those of some units."""
        return Sidecars({number: content for number, content in self._content.items() if number in numbers})

    def in_order(self) -> "Sidecars":
        """The same, in the order of their units."""
        return Sidecars(dict(sorted(self._content.items())))
