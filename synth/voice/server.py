"""Voices of any server that speaks OpenAI's speech protocol.

Source: https://platform.openai.com/docs/api-reference/audio/createSpeech, as Kokoro-FastAPI, Orpheus-FastAPI, vLLM,
Speaches, ovos-tts-server and most providers serve it.

A server may answer the same request with other bytes each time, and may be changed behind its address. The fingerprint
says so: what was committed stays, but nobody can make it again from the recipe.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import EngineError, SampleError, SetupError
from anytalk.synth.llm.pace import Pace, retry_after_s

from .fingerprint import RENDERING
from .reply import BrokenReplyError, read_reply
from .request import SpeakRequest, check_speakable, finished
from .speech_server import SpeechServer

OVERLOADED = {429, 503, 529}
PASSING = {408, 409, 425, *OVERLOADED}
"""Statuses below 500 that another try can cure; all from 500 on can."""
REFUSED = {400, 413, 422}
"""Statuses that are about what was sent."""

GIVE_UP_AFTER = 3
"""Calls in a row that fail before the server counts as down for the rest of the run."""

MAX_BACKOFF_S = 60.0
CONNECT_S = 10.0
SEEDS = 2**31
"""Every server's integer holds less than this."""

PROBE = "1, 2, 3."
"""Speakable in every language."""


@dataclass(frozen=True)
class _Trouble:
    """Why a request brought no speech, and what follows from it."""

    what: str
    refused: bool = False
    """It is about the text."""
    lasting: bool = False
    """Another try would not help."""
    overloaded: bool = False
    empty: bool = False
    wait_s: float = 0.0


class ServerVoice:
    """One voice of a server. Making one asks the server to say a short text, so that a wrong set-up shows early.

    Args:
        name: the name to go by, such as `server:kokoro/af_heart`.
        server: where and how to ask.
        voice: the voice's name, as the server knows it.

    Raises:
        SetupError: the key is not in the environment, or the server does not speak.
    """

    def __init__(self, name: str, server: SpeechServer, voice: str) -> None:
        self.name = name
        self.language = server.language
        self.terms = server.terms
        self.sample_rate_hz = server.sample_rate_hz
        self._server, self._voice = server, voice
        self._endpoint = server.endpoint()
        self._key = self._endpoint.read_key()
        # Made once: reading the certificates takes longer than some servers take to speak.
        self._tls = httpx2.create_ssl_context() if server.base_url.startswith("https:") else False
        self._failed_in_a_row = 0
        self._down: str | None = None
        self._probe()

    @property
    def fingerprint(self) -> str:
        """What was asked for; what came back is not decided by it."""
        server = self._server
        return (
            f"speech server, model {server.model} voice {self._voice} as {server.response_format} "
            f"at {server.sample_rate_hz} Hz, extra {json.dumps(dict(server.extra), sort_keys=True)} "
            f"revision {server.revision!r} rendering {RENDERING}, not reproducible"
        )

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """See `Voice.speak`; requests are under way side by side."""
        if self._down is not None:
            raise EngineError(self._down)
        try:
            spoken = _run(self._speak_all(requests, self._server.attempts))
        except EngineError as error:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= GIVE_UP_AFTER:
                self._down = f"{error}; nothing more is asked of it in this run"
            raise
        self._failed_in_a_row = 0
        return spoken

    def _probe(self) -> None:
        try:
            [spoken] = _run(self._speak_all([SpeakRequest(PROBE, 0)], attempts=2))
        except EngineError as error:
            raise SetupError(f"no speech from {error}; check base_url, model, voice and api_key_env") from None
        if isinstance(spoken, SampleError):
            raise SetupError(f"no speech from {self._endpoint} for the voice {self._voice}: {spoken}")

    async def _speak_all(self, requests: Sequence[SpeakRequest], attempts: int) -> list[Waveform | SampleError]:
        server = self._server
        pace = Pace(server.max_concurrency)
        async with httpx2.AsyncClient(
            base_url=server.base_url,
            verify=self._tls,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            # The whole of a request has one limit, in _post: limits on its parts let a trickle go on for ever.
            timeout=httpx2.Timeout(None, connect=min(CONNECT_S, server.timeout_s)),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=server.max_concurrency),
        ) as http:
            return await asyncio.gather(*(self._speak_one(http, pace, request, attempts) for request in requests))

    async def _speak_one(
        self, http: httpx2.AsyncClient, pace: Pace, request: SpeakRequest, attempts: int
    ) -> Waveform | SampleError:
        try:
            check_speakable(request.text)
            return finished(request, await self._ask(http, pace, request, attempts), self.sample_rate_hz)
        except SampleError as error:
            return error.with_traceback(None)

    async def _ask(self, http: httpx2.AsyncClient, pace: Pace, request: SpeakRequest, attempts: int) -> Waveform:
        """Send a request until it is answered, refused or given up."""
        server, body = self._server, self._body(request)
        tried = 0
        while True:
            tried += 1
            async with pace.turn() as began:
                result = await self._post(http, body)
                if isinstance(result, _Trouble) and result.overloaded:
                    pace.slow(began, min(result.wait_s, server.max_wait_s))
            if not isinstance(result, _Trouble):
                pace.quicken()
                return result
            if result.refused:
                raise SampleError("refused_request", result.what)
            if result.lasting or tried >= attempts:
                raise self._given_up(result, tried)
            await asyncio.sleep(min(server.backoff_s * 2 ** (tried - 1), MAX_BACKOFF_S))

    def _given_up(self, trouble: _Trouble, tried: int) -> SampleError | EngineError:
        if trouble.empty:
            return SampleError("empty_audio", f"{self._endpoint} sent {trouble.what}; asked {tried} times")
        return EngineError(f"{self._endpoint}: {trouble.what}" + (f"; sent {tried} times" if tried > 1 else ""))

    def _body(self, request: SpeakRequest) -> dict[str, Any]:
        server = self._server
        body = dict(server.extra) | {
            "model": server.model,
            "voice": self._voice,
            "input": request.text,
            "response_format": server.response_format,
        }
        # Left out where it is 1: some servers know no speed, and refuse the key.
        if (speed := request.speed / request.pitch) != 1.0:
            body["speed"] = round(speed, 4)
        if server.send_seed:
            body["seed"] = request.seed % SEEDS
        return body

    async def _post(self, http: httpx2.AsyncClient, body: dict[str, Any]) -> Waveform | _Trouble:
        """Send one request once."""
        limit_s = self._server.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                response = await http.post("audio/speech", json=body)
        except TimeoutError:
            return _Trouble(f"no answer within {limit_s:g} s", overloaded=True)
        except httpx2.RequestError as error:
            return _Trouble(self._clean(f"{type(error).__name__} {error}".strip()))
        if response.status_code == 200:
            return self._read(response)
        return self._refusal(response)

    def _read(self, response: httpx2.Response) -> Waveform | _Trouble:
        kind = response.headers.get("content-type", "")
        try:
            return read_reply(response.content, kind, self.sample_rate_hz, self._server.pcm_rate_hz)
        except BrokenReplyError as error:
            return _Trouble(self._clean(str(error)), empty=error.empty)

    def _refusal(self, response: httpx2.Response) -> _Trouble:
        status = response.status_code
        what = self._clean(f"status {status}: {' '.join(response.text.split())[:300]}")
        wait_s = retry_after_s(response.headers.get("retry-after"))
        overloaded = status in OVERLOADED
        too_long = overloaded and wait_s > self._server.max_wait_s
        if too_long:
            what = f"it asks to wait {wait_s:.0f} s, and max_wait_s is {self._server.max_wait_s:g}"
        passing = (status >= 500 or status in PASSING) and not too_long
        return _Trouble(what, refused=status in REFUSED, lasting=not passing, overloaded=overloaded, wait_s=wait_s)

    def _clean(self, text: str) -> str:
        """Take the key out of a message: some servers repeat it."""
        return text.replace(self._key, "[key]") if self._key else text


ResultT = TypeVar("ResultT")


def _run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in a thread of its own, since the caller's may have a loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
