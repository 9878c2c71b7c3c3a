"""Batch calls: a bad sample gives its error in its own place, and the others come out as if alone."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from .errors import SampleError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_good(
    items: Sequence[Item],
    check: Callable[[Item], object],
    run: Callable[[list[Item]], Sequence[Result | SampleError]],
) -> list[Result | SampleError]:
    """Run a batch call over the items that pass a check.

    Args:
        items: of the batch.
        check: raises SampleError for a bad item.
        run: gives one result an item, in order; it is not called without one.

    Returns:
        One entry an item, in order: its result, or the error of one that did not pass.
    """
    results: list[Result | SampleError | None] = []
    for item in items:
        try:
            check(item)
        except SampleError as error:
            results.append(error)
        else:
            results.append(None)
    good = [item for item, result in zip(items, results, strict=True) if result is None]
    made = iter(run(good) if good else [])
    return [next(made) if result is None else result for result in results]


def raise_first(results: Sequence[Result | SampleError]) -> list[Result]:
    """Give the results of a batch whose items must all be good.

    Raises:
        SampleError: the first one among the results.

    >>> raise_first(["one", "two"])
    ['one', 'two']
    """
    good: list[Result] = []
    for result in results:
        if isinstance(result, SampleError):
            raise result
        good.append(result)
    return good
