"""Ask a language model over HTTP: with retries, a pace that the server sets, a cache and a count of the cost.

The protocol is OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), as vLLM, SGLang,
llama.cpp, `transformers serve`, Ollama and most providers speak it.
"""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx2
from pydantic import BaseModel, Field, ValidationError

from anytalk.synth.errors import EngineError, SampleError, SetupError

from .cache import AnswerCache, answer_key
from .endpoint import Endpoint, Usage
from .pace import Pace, retry_after_s

FORMATS = ("json_schema", "json_object", "none")
"""Ways to ask for JSON, the strictest first."""

OVERLOADED = {429, 503, 529}
PASSING = {408, 409, 425, *OVERLOADED}
"""Statuses below 500 that another try can cure; all from 500 on can."""
REFUSED = {400, 413, 422}
"""Statuses that are about what was sent."""

GIVE_UP_AFTER = 8
"""Requests in a row that fail for good before the endpoint counts as down, and the others are not sent at all."""

MAX_BACKOFF_S = 60.0
CONNECT_S = 10.0

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: its words.
        finish_reason: `stop`, `length` where it was cut off, `content_filter` where it would not answer.
        model: name of the model as the server gives it, often with a version.
        prompt_tokens: tokens sent; None if the server did not count.
        completion_tokens: tokens got back; None if the server did not count.
    """

    text: str
    finish_reason: str | None
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True)
class _Trouble:
    """Why a request brought no answer, and what follows from it."""

    what: str
    status: int | None = None
    lasting: bool = False
    """Another try would not help."""
    overloaded: bool = False
    wait_s: float = 0.0


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Tokens(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Tokens | None = None


class Client:
    """A connection to one endpoint, for `async with`.

    Args:
        endpoint: what to ask, and how.
        cache: answers that are there already, and where new ones go; without one every request is sent.

    Raises:
        SetupError: the key is not in the environment.
    """

    def __init__(self, endpoint: Endpoint, cache: AnswerCache | None = None) -> None:
        self.endpoint = endpoint
        self.cache = cache
        self.usage = Usage()
        self.pace = Pace(endpoint.max_concurrency)
        self._key = endpoint.read_key()
        auto = endpoint.response_format == "auto"
        self._format: str = "json_schema" if auto else endpoint.response_format
        self._format_settled = not auto
        self._failed_in_a_row = 0
        self._down: str | None = None
        self._http = httpx2.AsyncClient(
            base_url=endpoint.base_url,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            # The whole of a request has one limit, in _post: limits on its parts let a trickle go on for ever.
            timeout=httpx2.Timeout(None, connect=min(CONNECT_S, endpoint.timeout_s)),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=endpoint.max_concurrency),
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def probe(self, schema: Mapping[str, Any] | None = None) -> None:
        """Find out with one small request whether the endpoint answers, takes the key, the settings and the schema.

        Args:
            schema: the one that `ask` will be called with.

        Raises:
            SetupError: it does not.
        """
        text = 'Answer with the JSON object {"turns": []} and nothing else.'
        try:
            await self._send([{"role": "user", "content": text}], 0, schema, attempts=2)
        except EngineError as error:
            raise SetupError(f"no answer from {error}; check base_url, model and api_key_env") from None
        except SampleError as error:
            raise SetupError(f"{self.endpoint} does not take our requests: {error.detail}") from None
        self._failed_in_a_row = 0

    async def ask(self, messages: Messages, seed: int, schema: Mapping[str, Any] | None = None) -> Answer:
        """Ask for one answer, or take it from the cache.

        Args:
            messages: role and content of each, in order.
            seed: of the sampling, 0 <= seed < 2**31, which every server's integer holds.
            schema: JSON schema of the answer. A server that knows no schemas is not held to it, so check the answer.

        Returns:
            The answer, kept in the cache before it is returned.

        Raises:
            SampleError: `refused_request`, if the server or the model will not answer this.
            EngineError: if there was no answer after all attempts, or the endpoint is down.
        """
        key = answer_key(self.endpoint.model, messages, self.endpoint.sampling(), seed, schema)
        known = self.cache.get(key) if self.cache is not None else None
        if known is not None:
            self.usage.cached += 1
            answer = Answer(**known)
        else:
            answer = await self._send(messages, seed, schema, self.endpoint.attempts)
            if self.cache is not None:
                self.cache.put(key, dataclasses.asdict(answer))
        if answer.finish_reason == "content_filter":
            raise SampleError("refused_request", f"the model would not answer: {answer.text[:200]!r}")
        return answer

    async def _send(self, messages: Messages, seed: int, schema: Mapping[str, Any] | None, attempts: int) -> Answer:
        """Send a request until it is answered, refused or given up."""
        tried = 0
        while True:
            if self._down is not None:
                raise EngineError(self._down)
            async with self.pace.turn() as began:
                if self._down is not None:
                    continue  # It went down while this request waited for its turn.
                form = self._format if schema is not None else "none"
                result = await self._post(self._body(messages, seed, schema, form))
                if isinstance(result, _Trouble) and result.overloaded and self._down is None:
                    self.pace.slow(began, result.wait_s)
            if isinstance(result, Answer):
                self._format_settled |= form == self._format
                self._count(result)
                return result
            if result.status in REFUSED:
                if self._step_down(form):
                    continue
                raise SampleError("refused_request", result.what)
            tried += 1
            if result.lasting or tried >= attempts:
                raise self._failed(result, tried)
            self.usage.retries += 1
            await asyncio.sleep(min(self.endpoint.backoff_s * 2 ** (tried - 1), MAX_BACKOFF_S))

    def _body(self, messages: Messages, seed: int, schema: Mapping[str, Any] | None, form: str) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.endpoint.model, "messages": list(messages)} | self.endpoint.sampling()
        if self.endpoint.send_seed:
            body["seed"] = seed
        if form == "json_schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            }
        elif form == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    async def _post(self, body: Mapping[str, Any]) -> Answer | _Trouble:
        """Send one request once."""
        limit_s = self.endpoint.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                response = await self._http.post("chat/completions", json=body)
        except TimeoutError:
            return _Trouble(f"no answer within {limit_s:g} s", overloaded=True)
        except httpx2.RequestError as error:
            return _Trouble(self._clean(f"{type(error).__name__} {error}".strip()))
        if response.status_code == 200:
            return self._read(response)
        status = response.status_code
        what = f"status {status}: {' '.join(self._clean(response.text).split())[:300]}"
        wait_s = retry_after_s(response.headers.get("retry-after"))
        passing = status >= 500 or status in PASSING
        overloaded = status in OVERLOADED
        if overloaded and wait_s > self.endpoint.max_wait_s:
            self._down = (
                f"{self.endpoint}: it asks to wait {wait_s:.0f} s, and max_wait_s is {self.endpoint.max_wait_s:g}"
            )
        return _Trouble(
            what, status, lasting=not passing or self._down is not None, overloaded=overloaded, wait_s=wait_s
        )

    def _read(self, response: httpx2.Response) -> Answer | _Trouble:
        try:
            completion = _Completion.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return _Trouble(f"status 200 with no chat completion in it: {where} {first['msg']}".replace("  ", " "))
        choice, tokens = completion.choices[0], completion.usage
        said = choice.message.refusal or choice.message.content or ""
        return Answer(
            text=self._clean(said),
            finish_reason="content_filter" if choice.message.refusal else choice.finish_reason,
            model=self._clean(completion.model or self.endpoint.model),
            prompt_tokens=tokens.prompt_tokens if tokens else None,
            completion_tokens=tokens.completion_tokens if tokens else None,
        )

    def _count(self, answer: Answer) -> None:
        self._failed_in_a_row = 0
        self.pace.quicken()
        self.usage.answers += 1
        self.usage.uncounted += answer.completion_tokens is None
        self.usage.prompt_tokens += answer.prompt_tokens or 0
        self.usage.completion_tokens += answer.completion_tokens or 0

    def _step_down(self, form: str) -> bool:
        """Whether a refused request may be sent again in a plainer format: not once its own has been answered."""
        if form == "none":
            return False
        if form == self._format:  # Else another request has stepped down already.
            if self._format_settled:
                return False
            self._format = FORMATS[FORMATS.index(form) + 1]
        return True

    def _failed(self, trouble: _Trouble, tried: int) -> EngineError:
        """The error of a request that is given up; too many in a row and the endpoint is."""
        self._failed_in_a_row += 1
        what = f"{self.endpoint}: {trouble.what}"
        if self._failed_in_a_row >= GIVE_UP_AFTER and self._down is None:
            self._down = f"{what}; nothing more is sent to it after {GIVE_UP_AFTER} failed requests in a row"
        return EngineError(f"{what}; sent {tried} times" if tried > 1 else what)

    def _clean(self, text: str) -> str:
        """Take the key out of what a server said: some repeat it."""
        return text.replace(self._key, "[key]") if self._key else text
