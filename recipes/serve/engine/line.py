"""Who is next: askers take turns, however much one of them asks."""

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """Items that wait, in the order in which they came, but that nobody has a second one before all others had one.

    >>> line = Line()
    >>> for asker, item in (("a", 1), ("a", 2), ("a", 3), ("b", 4)):
    ...     line.add(asker, item)
    >>> [line.next() for _ in range(len(line))]
    [1, 4, 2, 3]
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        """Of each asker who waits; whose turn it is stands first."""

    def __len__(self) -> int:
        """Items that wait."""
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[T]:
        """Items that wait, one asker's after the other's."""
        return chain.from_iterable(self._waiting.values())

    def add(self, asker: str, item: T) -> None:
        """Take an item."""
        self._waiting.setdefault(asker, deque()).append(item)

    def next(self) -> T:
        """Take out the item whose turn it is; its asker is the last one now."""
        asker = next(iter(self._waiting))
        items = self._waiting.pop(asker)
        item = items.popleft()
        if items:
            self._waiting[asker] = items
        return item

    def discard(self, item: T) -> None:
        """Take out an item that waits no more; nothing happens if it is not there."""
        for asker, items in self._waiting.items():
            if item in items:
                items.remove(item)
                if not items:
                    del self._waiting[asker]
                return
