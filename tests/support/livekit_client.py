"""A third-party client: the realtime model of LiveKit's plugin for OpenAI, which is pointed to a server.

    python -m venv livekit && livekit/bin/pip install "livekit-plugins-openai==1.8.9"
    ANYTALK_TEST_LIVEKIT=livekit/bin/python pytest tests/recipes/serve/test_livekit.py

Run as a program, by the interpreter that has the plugin, it holds one conversation and prints it as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

RATE_HZ = 24_000
PIECE_BYTES = 960


def python_of_livekit() -> str | None:
    """The interpreter that has the plugin, if there is one."""
    python = os.environ.get("ANYTALK_TEST_LIVEKIT", sys.executable)
    command = [python, "-c", "import livekit.plugins.openai.realtime"]
    return python if subprocess.run(command, capture_output=True).returncode == 0 else None


def converse(python: str, base_url: str, question: Path) -> dict[str, Any]:
    """Hold a conversation; see `talk`."""
    done = subprocess.run([python, __file__, base_url, str(question)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def talk(base_url: str, question: bytes) -> dict[str, Any]:
    """Ask a spoken question twice, then a written one, then take the first out of the conversation.

    Args:
        base_url: of the server's endpoints.
        question: 16-bit samples.

    Returns:
        `told`: what the session told, in order; `answers`: text, samples and modalities of each; `roles`: of the
        conversation's items at the end, as the client sees it.
    """
    # LiveKit is in the interpreter that runs this file as a program, and not in the tests' own.
    import aiohttp
    from livekit import rtc
    from livekit.plugins import openai

    told: list[str] = []
    answers: list[Any] = []
    generations: asyncio.Queue[Any] = asyncio.Queue()

    async def hear() -> None:
        generation = await asyncio.wait_for(generations.get(), 30)
        async for message in generation.message_stream:
            text = [str(piece) async for piece in message.text_stream]
            samples = [frame.samples_per_channel async for frame in message.audio_stream]
            answers.append(["".join(text), sum(samples), await message.modalities])

    async with aiohttp.ClientSession() as http:
        model = openai.realtime.RealtimeModel(base_url=base_url, api_key="none", model="tiny", http_session=http)
        session = model.session()
        for kind in ("input_speech_started", "input_speech_stopped", "input_audio_transcription_completed", "error"):
            session.on(kind, lambda event, kind=kind: told.append(kind))
        session.on("generation_created", generations.put_nowait)
        await session.update_instructions("Be brief.")
        for _ in range(2):
            for first in range(0, len(question), PIECE_BYTES):
                piece = question[first : first + PIECE_BYTES]
                session.push_audio(rtc.AudioFrame(piece, RATE_HZ, 1, len(piece) // 2))
                await asyncio.sleep(0.002)
            await hear()
        context = session.chat_ctx.copy()
        context.add_message(role="user", content="Who are you?")
        await session.update_chat_ctx(context)
        await asyncio.wait_for(session.generate_reply(), 30)
        await hear()
        context = session.chat_ctx.copy()
        del context.items[0]
        await session.update_chat_ctx(context)
        roles = [item.role for item in session.chat_ctx.items]
        await session.aclose()
    return {"told": told, "answers": answers, "roles": roles}


if __name__ == "__main__":
    given_url, given_path = sys.argv[1:]
    with wave.open(given_path) as recording:
        assert recording.getframerate() == RATE_HZ
        pcm = recording.readframes(recording.getnframes())
    sys.stdout.write(json.dumps(asyncio.run(talk(given_url, pcm))))
