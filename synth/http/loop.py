"""One event loop in a thread of its own, in which all requests of this process are sent.

Connections and limits belong to one event loop, and callers come from many: a thread for each voice, a loop for a plan.
"""

import asyncio
import functools
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="anytalk-http", daemon=True).start()
    return loop


# Threads do not survive a fork.
os.register_at_fork(after_in_child=_loop.cache_clear)


async def in_loop(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in the loop, from another one; it is cancelled with the caller."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _loop()))


def wait_for(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in the loop, from a thread that waits for it."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()
