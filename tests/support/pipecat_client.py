"""A third-party client: a bot of Pipecat, whose OpenAI Realtime service is pointed to a server.

    python -m venv pipecat && pipecat/bin/pip install "pipecat-ai[openai]==1.14.0"
    ANYTALK_TEST_PIPECAT=pipecat/bin/python pytest tests/recipes/serve/test_pipecat.py

Run as a program, by the interpreter that has Pipecat, it holds one conversation and prints what it saw as JSON.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

RATE_HZ = 24_000
PIECE_S = 0.02


def python_of_pipecat() -> str | None:
    """The interpreter that has Pipecat, if there is one."""
    python = os.environ.get("ANYTALK_TEST_PIPECAT", sys.executable)
    command = [python, "-c", "import pipecat.services.openai.realtime.llm"]
    return python if subprocess.run(command, capture_output=True).returncode == 0 else None


def converse(python: str, websocket_url: str, question: Path, kind: str) -> list[dict[str, Any]]:
    """Hold a conversation (see `talk`); gives the frames that the bot saw, with their kind, text and audio."""
    command = [python, __file__, websocket_url, str(question), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    frames: list[dict[str, Any]] = json.loads(done.stdout)
    return frames


async def talk(url: str, question: bytes, kind: str) -> list[dict[str, Any]]:
    """Hold a conversation.

    Args:
        url: of the WebSocket.
        question: 16-bit samples.
        kind: `detected`, where the server finds the turn; `manual`, where the bot says where it ends; `greeting`, where
            the bot speaks first, as in Pipecat's examples; `unasked`, where it is to speak first with nothing to
            answer; `interrupted`, where the question is asked again while it is answered.
    """
    # Pipecat is in the interpreter that runs this file as a program, and not in the tests' own.
    from pipecat.frames import frames as f
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.services.openai.realtime import events
    from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
    from pipecat.workers.runner import WorkerRunner

    seen: list[dict[str, Any]] = []
    speech = f.TTSStartedFrame, f.TTSAudioRawFrame, f.TTSStoppedFrame, f.TTSTextFrame, f.LLMFullResponseEndFrame
    turns = f.UserStartedSpeakingFrame, f.UserStoppedSpeakingFrame, f.TranscriptionFrame, f.ErrorFrame

    class Witness(FrameProcessor):  # type: ignore[misc]
        """Writes down what comes out of the service on one side."""

        def __init__(self, direction: Any) -> None:
            super().__init__()
            self._watched = direction

        async def process_frame(self, frame: Any, direction: Any) -> None:
            await super().process_frame(frame, direction)
            if direction == self._watched and isinstance(frame, speech + turns):
                told = {"kind": type(frame).__name__.removesuffix("Frame"), "text": getattr(frame, "text", "")}
                if isinstance(frame, f.TTSAudioRawFrame):
                    told |= {"audio": base64.b64encode(frame.audio).decode(), "rate_hz": frame.sample_rate}
                seen.append(told)
            await self.push_frame(frame, direction)

    heard = events.AudioInput(
        transcription=events.InputAudioTranscription(),
        turn_detection=False if kind == "manual" else events.SemanticTurnDetection(),
        noise_reduction=events.InputAudioNoiseReduction(type="near_field"),
    )
    service = OpenAIRealtimeLLMService(
        api_key="none",
        base_url=url,
        settings=OpenAIRealtimeLLMService.Settings(
            system_instruction="Be brief.",
            session_properties=events.SessionProperties(audio=events.AudioConfiguration(input=heard)),
        ),
    )
    context = LLMContext([{"role": "developer", "content": "Say hello!"}] if kind == "greeting" else [])
    user, assistant = LLMContextAggregatorPair(context)
    up, down = Witness(FrameDirection.UPSTREAM), Witness(FrameDirection.DOWNSTREAM)
    params = PipelineParams(audio_in_sample_rate=RATE_HZ)
    worker = PipelineWorker(Pipeline([user, up, service, down, assistant]), params=params)

    async def ask() -> None:
        piece = 2 * round(RATE_HZ * PIECE_S)
        for first in range(0, len(question), piece):
            await worker.queue_frames([f.InputAudioRawFrame(question[first : first + piece], RATE_HZ, 1)])
            await asyncio.sleep(PIECE_S / 10)

    async def until(wanted: str, count: int = 1) -> None:
        while sum(told["kind"] == wanted for told in seen) < count:
            await asyncio.sleep(0.01)

    async def speak() -> None:
        if kind in ("greeting", "unasked"):
            await worker.queue_frames([f.LLMRunFrame()])
            await until("Error" if kind == "unasked" else "LLMFullResponseEnd")
        if kind == "manual":
            await worker.queue_frames([f.UserStartedSpeakingFrame()])
        await ask()
        if kind == "manual":
            await worker.queue_frames([f.UserStoppedSpeakingFrame()])
        if kind == "interrupted":
            await until("TTSAudioRaw")
            await ask()
            await until("TTSStarted", 2)
        else:
            await until("TTSStopped", 2 if kind == "greeting" else 1)
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.wait_for(asyncio.gather(runner.run(), speak()), 60)
    return seen


if __name__ == "__main__":
    given_url, given_path, given_kind = sys.argv[1:]
    with wave.open(given_path) as recording:
        assert recording.getframerate() == RATE_HZ
        pcm = recording.readframes(recording.getnframes())
    sys.stdout.write(json.dumps(asyncio.run(talk(given_url, pcm, given_kind))))
