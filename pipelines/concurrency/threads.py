"""Ask for several things at once that take their time to come, and give them in order."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

CallT = TypeVar("CallT")
ResultT = TypeVar("ResultT")


def several_in_order(function: Callable[[CallT], ResultT], calls: Iterable[CallT], at_once: int) -> Iterator[ResultT]:
    """Call a function with each of many values, in threads; the results come in the order of the values.

    Args:
        function: waits for the network or a disk.
        calls: the values, read a few ahead.
        at_once: calls under way; none but the one whose result is asked for, with 1.

    Raises:
        Exception: whatever the function raises.
    """
    if at_once == 1:
        yield from map(function, calls)
        return
    waiting = iter(calls)
    with ThreadPoolExecutor(at_once) as pool:
        under_way: deque[Future[ResultT]] = deque(
            pool.submit(function, call) for call in itertools.islice(waiting, at_once)
        )
        try:
            while under_way:
                result = under_way.popleft().result()
                under_way.extend(pool.submit(function, call) for call in itertools.islice(waiting, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
