"""One question of an HTTP request: its pieces as they come, or its whole answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from anytalk.model import End, Piece
from anytalk.synth.audio import Waveform
from anytalk.synth.errors import AnyTalkError

from .engine import Engine, Question


@dataclass(frozen=True, eq=False)
class Whole:
    """An answer."""

    text: str
    sound: Waveform
    end: End
    steps: int


async def pieces(engine: Engine, question: Question) -> AsyncIterator[Piece]:
    """Ask, and give each piece as it comes; closing this cancels the answer.

    Raises:
        Full: as many questions wait as may.
        AnyTalkError: there is no answer.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Piece | AnyTalkError] = asyncio.Queue()

    def deliver(piece: Piece | AnyTalkError) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(arrived.put_nowait, piece)

    answering = None
    try:
        answering = engine.ask(question, deliver)
        while True:
            piece = await arrived.get()
            if isinstance(piece, AnyTalkError):
                raise piece
            yield piece
            if piece.end is not None:
                return
    finally:
        if answering is not None:
            answering.cancel()
        if question.features is not None:
            question.features.cancel()  # nobody else asks for them


async def whole(engine: Engine, question: Question) -> Whole:
    """Ask, and wait for all of the answer; see `pieces`."""
    taken: list[Piece] = []
    async with aclosing(pieces(engine, question)) as coming:  # type: ignore[type-var]
        async for piece in coming:
            taken.append(piece)
    end = taken[-1].end
    assert end is not None
    sound = np.concatenate([piece.pcm for piece in taken])
    return Whole("".join(piece.text for piece in taken), sound, end, taken[-1].steps)
