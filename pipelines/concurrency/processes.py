"""Do the same with many things on all cores, in processes, and give what comes of it in order."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from anytalk.synth.errors import EngineError

MOST = 32
"""Processes that are started by default: whoever gives them work feeds no more."""

AHEAD = 3
"""Calls of each process that are under way or done, and not yet taken."""

CallT = TypeVar("CallT")
ResultT = TypeVar("ResultT")


def cores() -> int:
    """Cores that this process may use, `MOST` at most."""
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(known or 1, MOST)


def in_order(
    function: Callable[[CallT], ResultT], calls: Iterable[CallT], workers: int | None = None, alone: int = 0
) -> Iterator[ResultT]:
    """Call a function with each of many values; the results come in the order of the values.

    Args:
        function: of a module, as processes find it by its name.
        calls: the values, read a few ahead.
        workers: processes; one for each core by default, and none for 1.
        alone: calls that are made in this process first: to start others takes seconds, which few calls are not worth.

    Raises:
        EngineError: a process was killed, as by a system that ran out of memory.
        Exception: whatever the function raises.
    """
    workers = workers or cores()
    waiting = iter(calls)
    yield from map(function, waiting if workers == 1 else itertools.islice(waiting, alone))
    first = next(waiting, None)
    if first is None:
        return
    executor = ProcessPoolExecutor(workers, _WithoutMain(), _begin)
    under_way: deque[Future[ResultT]] = deque()
    try:
        for call in itertools.chain([first], waiting):
            under_way.append(executor.submit(function, call))
            if len(under_way) == AHEAD * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool as error:
        raise EngineError(
            f"one of {workers} processes was killed (out of memory?); the same command tries again"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and end when it has ended, however it did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


class _Worker(SpawnProcess):
    """A process that does not run the script that started it, so that a script needs no `if __name__ == "__main__"`."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802  multiprocessing's name
        with _main_hidden():
            return SpawnProcess._Popen(process_obj)


class _WithoutMain(SpawnContext):
    Process = _Worker


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
