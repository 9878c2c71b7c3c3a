"""The endpoints that answer one request: chat completions, speech, transcriptions, in the words of OpenAI's API.

Source: https://platform.openai.com/docs/api-reference (chat/create with audio, audio/createSpeech and
audio/createTranscription). Keys that mean nothing here (temperature, voice, instructions) are taken and have no effect.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from anytalk.model import Task
from anytalk.synth.audio import Waveform, read_audio
from anytalk.synth.errors import AnyTalkError, SampleError

from .engine import Question, Whole, pieces, whole
from .errors import Closed, Full, ProtocolError, error_body, new_id
from .house import House
from .sound import FORMATS, HEARING_RATE_HZ, Incoming, decoded, file_bytes, pcm_bytes, pcm_text, samples_of, wav_header

Format = Literal["wav", "pcm", "pcm16", "mp3", "opus", "flac"]
MAX_TEXT = 4096
"""Characters of a text that is read aloud or answered, as in OpenAI's API."""


class InputAudio(BaseModel):
    """A recording in a message."""

    data: str
    format: str = "wav"


class Part(BaseModel):
    """A part of a message."""

    type: str
    text: str | None = None
    input_audio: InputAudio | None = None


class Message(BaseModel):
    """A message of a chat."""

    role: str
    content: str | list[Part] | None = None


class AudioWanted(BaseModel):
    """How the answer's speech should come."""

    format: Format = "wav"


class ChatRequest(BaseModel):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1024)]
    modalities: list[Literal["text", "audio"]] | None = None
    audio: AudioWanted | None = None
    stream: bool = False
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None


class SpeechRequest(BaseModel):
    """The body of `POST /v1/audio/speech`."""

    input: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    response_format: Format = "mp3"


class Endpoints:
    """The endpoints of one server.

    Args:
        house: what they share with its sessions.
    """

    def __init__(self, house: House) -> None:
        self._house, self._engine = house, house.engine

    async def chat(self, request: Request) -> Response:
        """Answer the last message of the user; what was said before it is not looked at."""
        try:
            asked = ChatRequest.model_validate_json(await request.body())
            question, said = await self._question(asked, _asker(request))
            if asked.stream:
                return await self._streamed(asked, question)
            answer = await self._whole(request, question)
        except (AnyTalkError, ValidationError, ClientDisconnect) as error:
            return refusal(error)
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if question.task.speaks:
            kind = _kind(asked.audio.format if asked.audio else "wav")
            content = await run_in_threadpool(file_bytes, answer.sound, kind)
            data = base64.b64encode(content).decode("ascii")
            audio = {"id": new_id("audio"), "data": data, "transcript": answer.text, "expires_at": int(time.time())}
            message |= {"content": None, "audio": audio}
        if self._house.archive is not None:
            await run_in_threadpool(self._house.archive.save, said, answer.text, answer.sound)
        choice = {"index": 0, "message": message, "finish_reason": _reason(answer.end), "logprobs": None}
        usage = {"prompt_tokens": 0, "completion_tokens": answer.steps, "total_tokens": answer.steps}
        return JSONResponse(self._completion("chat.completion", [choice], usage=usage))

    async def speech(self, request: Request) -> Response:
        """Read a text aloud: the task T1A1."""
        try:
            asked = SpeechRequest.model_validate_json(await request.body())
            question, kind = Question(Task.T1A1, asked.input, asker=_asker(request)), _kind(asked.response_format)
            if kind in ("pcm", "wav"):
                coming = pieces(self._engine, question)
                first = await anext(coming)  # what goes wrong is told with a status, before the first byte
                return StreamingResponse(_bytes(first, coming, kind), media_type=FORMATS[kind])
            answer = await self._whole(request, question)
        except (AnyTalkError, ValidationError, ClientDisconnect) as error:
            return refusal(error)
        return Response(await run_in_threadpool(file_bytes, answer.sound, kind), media_type=FORMATS[kind])

    async def transcription(self, request: Request) -> Response:
        """Write down what a recording says: the task A1T1."""
        try:
            async with request.form(max_files=1, max_fields=20) as form:
                file, wanted = form.get("file"), form.get("response_format", "json")
                if not isinstance(file, UploadFile):
                    raise ProtocolError("give a recording as the form's file", "missing_required_parameter", "file")
                if wanted not in ("json", "text"):
                    raise ProtocolError(f"response_format is json or text, not {wanted!r}", param="response_format")
                content = await file.read()
            sound = await self._read(content)
            asker = _asker(request)
            question = Question(Task.A1T1, features=self._engine.listener.features(sound, asker), asker=asker)
            answer = await self._whole(request, question)
        except (AnyTalkError, ClientDisconnect) as error:
            return refusal(error)
        if wanted == "text":
            return PlainTextResponse(answer.text)
        usage = {"type": "duration", "seconds": round(len(sound) / HEARING_RATE_HZ, 3)}
        return JSONResponse({"text": answer.text, "usage": usage})

    async def _whole(self, request: Request, question: Question) -> Whole:
        """Wait for an answer as long as the client does.

        Raises:
            ClientDisconnect: it is gone.
            AnyTalkError: there is no answer.
        """
        answering = asyncio.create_task(whole(self._engine, question))
        leaving = asyncio.ensure_future(request.receive())  # its body is read: what comes next is its leave
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, leaving):
                task.cancel()
        try:
            return await answering
        except asyncio.CancelledError:
            raise ClientDisconnect from None

    async def _question(self, asked: ChatRequest, asker: str) -> tuple[Question, Waveform | str]:
        """Read the question out of a chat; give what was said, too.

        Raises:
            ProtocolError: there is none.
            SampleError: its recording cannot be heard.
        """
        speaks = "audio" in (asked.modalities or ["text"])
        last = next((message for message in reversed(asked.messages) if message.role == "user"), None)
        if last is None or not last.content:
            raise ProtocolError("messages must hold one of the user, with text or input_audio", param="messages")
        limit = asked.max_completion_tokens or asked.max_tokens
        parts = [Part(type="text", text=last.content)] if isinstance(last.content, str) else last.content
        sounds = [part.input_audio for part in parts if part.input_audio is not None]
        texts = [part.text for part in parts if part.text]
        if not sounds:
            text = "\n".join(texts)[:MAX_TEXT]
            return Question(Task.T1A2 if speaks else Task.T1T2, text, max_frames=limit, asker=asker), text
        if len(sounds) > 1 or texts:
            raise ProtocolError("a message holds text or one input_audio", param="messages")
        content = decoded(sounds[0].data)
        sound = await self._read(content, raw=_kind(sounds[0].format) == "pcm")
        features = self._engine.listener.features(sound, asker)
        task = Task.A1A2 if speaks else Task.A1T2
        return Question(task, features=features, max_frames=limit, asker=asker), sound

    async def _read(self, content: bytes, *, raw: bool = False) -> Waveform:
        if not raw:
            return await run_in_threadpool(read_audio, content, HEARING_RATE_HZ, max_s=self._house.limits.turn_s)
        samples = samples_of(content)
        if len(samples) > self._house.limits.turn_s * 24_000:
            raise SampleError("too_long", f"a question lasts {self._house.limits.turn_s:g} s at most")
        return await run_in_threadpool(Incoming().push, samples, last=True)

    async def _streamed(self, asked: ChatRequest, question: Question) -> Response:
        if question.task.speaks and _kind(asked.audio.format if asked.audio else "pcm") != "pcm":
            raise ProtocolError("speech is streamed as pcm16 only", param="audio.format")
        coming = pieces(self._engine, question)
        first = await anext(coming)
        return StreamingResponse(self._events(first, coming, question), media_type="text/event-stream")

    async def _events(self, first: Any, coming: AsyncIterator[Any], question: Question) -> AsyncIterator[str]:
        """Give an answer as server-sent events."""
        completion, audio_id = new_id("chatcmpl"), new_id("audio")

        def event(delta: dict[str, Any], reason: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
            body = self._completion("chat.completion.chunk", [choice], completion)
            return f"data: {json.dumps(body)}\n\n"

        yield event({"role": "assistant", "content": None if question.task.speaks else ""})
        async for piece in _all(first, coming):
            if not question.task.speaks:
                if piece.text:
                    yield event({"content": piece.text})
            else:
                audio = {"id": audio_id}
                audio |= {"transcript": piece.text} if piece.text else {}
                audio |= {"data": pcm_text(piece.pcm)} if len(piece.pcm) else {}
                if len(audio) > 1:
                    yield event({"audio": audio})
            if piece.end is not None:
                yield event({}, _reason(piece.end))
        yield "data: [DONE]\n\n"

    def _completion(self, kind: str, choices: list[Any], id_: str | None = None, **more: Any) -> dict[str, Any]:
        return {
            "id": id_ or new_id("chatcmpl"),
            "object": kind,
            "created": int(time.time()),
            "model": self._house.model,
            "choices": choices,
            **more,
        }


def refusal(error: Exception) -> Response:
    """Say what was wrong, as OpenAI's API does."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        error = ProtocolError(f"{where or 'the body'}: {first['msg']}", param=where or None)
    if isinstance(error, ClientDisconnect):
        error = ProtocolError("the request is not whole", "invalid_event")
    assert isinstance(error, AnyTalkError)
    busy = isinstance(error, Full | Closed)
    status = 503 if busy else 400 if isinstance(error, ProtocolError | SampleError) else 500
    return JSONResponse({"error": error_body(error)}, status, {"Retry-After": "2"} if busy else None)


def _asker(request: Request) -> str:
    """Name whoever asks: all requests of a machine stand for one."""
    return request.client.host if request.client else ""


def _kind(name: str) -> str:
    return "pcm" if name == "pcm16" else name


def _reason(end: str) -> str:
    return "length" if end == "limit" else "stop"


async def _all(first: Any, coming: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async with aclosing(coming):  # type: ignore[type-var]
        yield first
        async for piece in coming:
            yield piece


async def _bytes(first: Any, coming: AsyncIterator[Any], kind: str) -> AsyncIterator[bytes]:
    """Give the samples of an answer as they come."""
    if kind == "wav":
        yield wav_header()
    async for piece in _all(first, coming):
        yield pcm_bytes(piece.pcm)
