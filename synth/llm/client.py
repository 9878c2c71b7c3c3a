"""Ask a language model over HTTP, with retries, rate limits, a cache and a count of the tokens.

The protocol is OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), as vLLM, SGLang,
llama.cpp, `transformers serve`, Ollama and most providers speak it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx2
from pydantic import BaseModel, Field, ValidationError

from anytalk.synth.errors import EngineError, SampleError, SetupError
from anytalk.synth.http import CircuitBreaker, Failure, HttpClient

from .cache import AnswerCache, answer_key
from .endpoint import ChatEndpoint, Usage

FORMATS = ("json_schema", "json_object", "none")
"""Ways to ask for JSON, the strictest first."""

GIVE_UP_AFTER = 8
"""Requests in a row that fail after all their retries, from which the endpoint counts as down."""

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


class ChatClient:
    """A client of one chat endpoint, for `async with`.

    Args:
        endpoint: where to send requests, and their settings.
        cache: where answers are looked up and stored; None sends every request.

    Raises:
        SetupError: the key is not in the environment.
    """

    def __init__(self, endpoint: ChatEndpoint, cache: AnswerCache | None = None) -> None:
        self.endpoint = endpoint
        self.cache = cache
        self.usage = Usage()
        auto = endpoint.response_format == "auto"
        self._format: str = "json_schema" if auto else endpoint.response_format
        self._format_settled = not auto
        self._breaker = CircuitBreaker(GIVE_UP_AFTER)
        self._http = HttpClient(endpoint, endpoint.read_key(), self._breaker)

    async def __aenter__(self) -> "ChatClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def probe(self, schema: Mapping[str, Any] | None = None) -> None:
        """Check with one small request that the endpoint responds and accepts the key, the settings and the schema.

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
        form = "none"

        def body() -> dict[str, Any]:
            nonlocal form
            form = self._format if schema is not None else "none"
            return self._body(messages, seed, schema, form)

        while True:
            try:
                with self._breaker.watch():
                    answer = await self._http.send("chat/completions", body, self._read, attempts)
            except SampleError:
                if not self._step_down(form):
                    raise
            else:
                self._format_settled |= form == self._format
                self.usage.count(answer.prompt_tokens, answer.completion_tokens)
                return answer
            finally:
                self.usage.retries = self._http.retries

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

    def _read(self, response: httpx2.Response) -> Answer | Failure:
        try:
            completion = _Completion.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return Failure(f"status 200 with no chat completion in it: {where} {first['msg']}".replace("  ", " "))
        choice, tokens = completion.choices[0], completion.usage
        said = choice.message.refusal or choice.message.content or ""
        return Answer(
            text=self._http.redact(said),
            finish_reason="content_filter" if choice.message.refusal else choice.finish_reason,
            model=self._http.redact(completion.model or self.endpoint.model),
            prompt_tokens=tokens.prompt_tokens if tokens else None,
            completion_tokens=tokens.completion_tokens if tokens else None,
        )

    def _step_down(self, form: str) -> bool:
        """Whether a refused request may be sent again in a plainer format: not once its own has been answered."""
        if form == "none":
            return False
        if form == self._format:  # Else another request has stepped down already.
            if self._format_settled:
                return False
            self._format = FORMATS[FORMATS.index(form) + 1]
        return True
