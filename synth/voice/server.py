"""Voices of any server with an OpenAI-compatible speech endpoint.

Source: https://platform.openai.com/docs/api-reference/audio/createSpeech, as Kokoro-FastAPI, Orpheus-FastAPI, vLLM,
Speaches, ovos-tts-server and most providers serve it.

A server may return different audio for the same request, and its model may change without notice. So its fingerprint
ends in "not reproducible": committed rows stay valid, but a build from the same recipe can give other bytes.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx2

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import EngineError, SampleError, SetupError
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.http import SEEDS, Failure, HttpClient, wait_for

from .engine import Servers, VoiceEngine
from .request import RENDERING, SpeakRequest, check_speakable, finished
from .response import BrokenResponseError, read_response
from .speech_server import ServedVoice, SpeechServer

PROBE = "1, 2, 3."
"""Speakable in every language."""


class ServerVoice:
    """One voice of a server. The constructor has the server say a short text, so that wrong settings show early.

    Args:
        name: the name to go by, such as `server:kokoro/af_heart`.
        server: settings of the server.
        voice: the voice's name, as the server or `SpeechServer.voices` knows it.

    Raises:
        SetupError: the key is not in the environment, the reference cannot be read, or the server returns no speech.
    """

    def __init__(self, name: str, server: SpeechServer, voice: str) -> None:
        self.name = name
        self.language = server.language
        self.terms = server.terms
        self.sample_rate_hz = server.sample_rate_hz
        self._server, self._settings = server, server.voices.get(voice, ServedVoice())
        self._voice = self._settings.voice or voice
        self._fields = dict(server.extra) | self._settings.fields()
        self._http = HttpClient(server, server.read_key())
        self._probe()

    @property
    def fingerprint(self) -> Fingerprint:
        """The settings of a request that change its audio; they do not determine every byte of it."""
        server = self._server
        return {
            "engine": "speech server",
            "model": server.model,
            "voice": self._voice,
            "response_format": server.response_format,
            "sample_rate_hz": str(server.sample_rate_hz),
            "extra": json.dumps(dict(server.extra) | dict(self._settings.extra), sort_keys=True),
            **self._settings.fingerprint(),
            "revision": str(server.revision),
            "rendering": str(RENDERING),
            "reproducible": "no",
        }

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """See `Voice.speak`; requests are sent concurrently."""
        return wait_for(self._speak_all(requests, self._server.attempts))

    def _probe(self) -> None:
        self._http.reset()  # It may be up again.
        try:
            [spoken] = wait_for(self._speak_all([SpeakRequest(PROBE, 0)], attempts=2))
        except EngineError as error:
            raise SetupError(f"no speech from {error}; check base_url, model, voice and api_key_env") from None
        if isinstance(spoken, SampleError):
            raise SetupError(f"no speech from {self._server} for the voice {self._voice}: {spoken}")

    async def _speak_all(self, requests: Sequence[SpeakRequest], attempts: int) -> list[Waveform | SampleError]:
        return await asyncio.gather(*(self._speak_one(request, attempts) for request in requests))

    async def _speak_one(self, request: SpeakRequest, attempts: int) -> Waveform | SampleError:
        def read(response: httpx2.Response) -> Waveform | Failure:
            kind = response.headers.get("content-type", "")
            try:
                return read_response(response.content, kind, self.sample_rate_hz, self._server.pcm_rate_hz)
            except BrokenResponseError as error:
                return Failure(self._http.redact(str(error)), reason="empty_audio" if error.empty else None)

        try:
            check_speakable(request.text)
            spoken = await self._http.send("audio/speech", lambda: self._body(request), read, attempts)
            return await asyncio.to_thread(finished, request, spoken, self.sample_rate_hz)
        except SampleError as error:
            return error.with_traceback(None)

    def _body(self, request: SpeakRequest) -> dict[str, Any]:
        server = self._server
        body = self._fields | {
            "model": server.model,
            "voice": self._voice,
            "input": request.text,
            "response_format": server.response_format,
        }
        # Left out where it is 1: some servers do not support speed, and reject the key.
        if (speed := request.speed / request.pitch) != 1.0:
            body["speed"] = round(speed, 4)
        if server.send_seed:
            body["seed"] = request.seed % SEEDS
        return body


def _server_of(spec: str, servers: Servers) -> tuple[SpeechServer, str]:
    """The server of a voice, and the voice's name there.

    Args:
        spec: `SERVER/VOICE`.
        servers: by name.

    Raises:
        SetupError: there is no such server.
    """
    server, slash, voice = spec.partition("/")
    if not (slash and voice) or server not in servers:
        known = ", ".join(servers) or "none"
        raise SetupError(
            f"the voice server:{spec} must be server:SERVER/VOICE with a server of voices.servers (known: {known})"
        )
    return servers[server], voice


ENGINE = VoiceEngine(
    forms=("server:SERVER/VOICE",),
    load=lambda spec, servers, _: ServerVoice(f"server:{spec}", *_server_of(spec, servers)),
    language=lambda spec, servers: _server_of(spec, servers)[0].language,
)
