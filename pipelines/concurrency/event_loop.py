"""Run coroutines to their end from functions that are none, also where an event loop runs already, as in a notebook."""

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class LoopRunner:
    """`asyncio.Runner` that works in notebooks: where a loop runs in this thread, its own runs in another one.

    An interruption of whoever waits cancels what runs, as `asyncio.Runner` does in the main thread.
    """

    def __enter__(self) -> "LoopRunner":
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="anytalk-loop") if _runs_here() else None
        self._runner = asyncio.Runner()
        return self

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine to its end; all of one runner share a loop."""
        if self._thread is None:
            return self._runner.run(work)
        done = self._thread.submit(self._runner.run, work, context=contextvars.copy_context())
        try:
            return done.result()
        except KeyboardInterrupt:
            loop = self._runner.get_loop()
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._thread is None:
            self._runner.close()
            return
        with self._thread:
            self._thread.submit(self._runner.close).result()


def run_to_end(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run one coroutine to its end."""
    with LoopRunner() as runner:
        return runner.run(work)


def _runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
