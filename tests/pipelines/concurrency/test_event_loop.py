"""Coroutines run to their end from plain functions, whether or not a loop runs around them."""

import asyncio
import contextvars
import subprocess
import sys

import pytest

from anytalk.pipelines.concurrency.event_loop import LoopRunner, run_to_end

WHERE = contextvars.ContextVar("where", default="nowhere")


async def seen(value):
    await asyncio.sleep(0)
    return value, WHERE.get()


def steps():
    WHERE.set("here")
    with LoopRunner() as runner:
        event = asyncio.Event()
        first = runner.run(seen(1))
        runner.run(asyncio.wait_for(_set(event), 1))
        return first, event.is_set()


async def _set(event):
    event.set()
    await event.wait()


async def fails():
    raise ValueError("said")


def test_it_is_the_same_without_a_loop_and_inside_of_one():
    async def inside():
        return steps()

    expected = ((1, "here"), True)
    assert contextvars.copy_context().run(steps) == expected
    assert asyncio.run(inside()) == expected


def test_errors_come_through():
    async def inside():
        run_to_end(fails())

    with pytest.raises(ValueError, match="said"):
        run_to_end(fails())
    with pytest.raises(ValueError, match="said"):
        asyncio.run(inside())


INTERRUPTED = """
import asyncio, os, signal, threading
from anytalk.pipelines.concurrency.event_loop import run_to_end

async def long():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled")
        raise

async def notebook():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as ipykernel has it, unlike asyncio.run
    try:
        run_to_end(long())
    except KeyboardInterrupt:
        print("interrupted")

asyncio.run(notebook())
"""


def test_an_interruption_cancels_what_runs():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["cancelled", "interrupted"], done.stderr
