"""Ask a language model over HTTP, with retries, rate limits, a cache and a count of the tokens.

The protocol is OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), as vLLM, SGLang,
llama.cpp, `transformers serve`, Ollama and most providers speak it.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from anytalk.synth.errors import EngineError, SampleError, SetupError
from anytalk.synth.http import BrokenServerError, Failure, HttpClient

from .cache import AnswerCache, answer_key
from .completion import Answer, read_completion
from .endpoint import ChatEndpoint, Usage

FORMATS = ("json_schema", "json_object", "none")
"""Ways to ask for JSON, the strictest first."""

Messages = Sequence[Mapping[str, str]]


@dataclasses.dataclass
class _Format:
    """How JSON is asked of one server and model: the strictest way that it takes, once that is settled."""

    name: str = FORMATS[0]
    settled: bool = False


_formats: dict[tuple[tuple[str, ...], str], _Format] = {}
"""What is known of the servers of this process: a server is tried once, not by each client."""


class ChatClient:
    """A client of one chat endpoint; clients of the same server share its connections and its pace.

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
        self._is_auto = endpoint.response_format == "auto"
        self._format = (
            _formats.setdefault((endpoint.urls, endpoint.model), _Format())
            if self._is_auto
            else _Format(endpoint.response_format, settled=True)
        )
        self._http = HttpClient(endpoint, endpoint.read_key())

    async def probe(self, schema: Mapping[str, Any] | None = None) -> None:
        """Check with one small request that the endpoint responds and accepts the key, the settings and the schema.

        Args:
            schema: the one that `ask` will be called with.

        Raises:
            SetupError: it does not.
        """
        text = 'Answer with the JSON object {"turns": []} and nothing else.'
        self._http.reset()  # It may be another server by now.
        if self._is_auto:
            self._format.name, self._format.settled = FORMATS[0], False
        try:
            await self._send([{"role": "user", "content": text}], 0, schema, self.endpoint.temperature, attempts=2)
        except EngineError as error:
            raise SetupError(f"no answer from {error}; check base_url, model and api_key_env") from None
        except SampleError as error:
            raise SetupError(f"{self.endpoint} does not take our requests: {error.detail}") from None

    async def ask(
        self, messages: Messages, seed: int, schema: Mapping[str, Any] | None = None, *, repair: bool = False
    ) -> Answer:
        """Ask for one answer, or take it from the cache.

        Args:
            messages: role and content of each, in order.
            seed: of the sampling, 0 <= seed < 2**31, which every server's integer holds.
            schema: JSON schema of the answer. A server that knows no schemas is not held to it, so check the answer.
            repair: whether an answer is to be mended; then the temperature is `repair_temperature`.

        Returns:
            The answer, kept in the cache before it is returned.

        Raises:
            SampleError: `refused_request`, if the server or the model will not answer this.
            EngineError: if there was no answer after all attempts, or the endpoint is down.
        """
        endpoint = self.endpoint.for_repair() if repair else self.endpoint
        key = answer_key(endpoint.server, endpoint.model, messages, endpoint.sampling(), seed, schema)
        known = self.cache.get(key) if self.cache is not None else None
        if known is not None:
            self.usage.cached += 1
            answer = Answer(**known)
        else:
            answer = await self._send(messages, seed, schema, endpoint.temperature, endpoint.attempts, key)
        if answer.finish_reason == "content_filter":
            raise SampleError("refused_request", f"the model would not answer: {answer.text[:200]!r}")
        return answer

    async def _send(
        self,
        messages: Messages,
        seed: int,
        schema: Mapping[str, Any] | None,
        temperature: float | None,
        attempts: int,
        key: str | None = None,
    ) -> Answer:
        """Send a request until it is answered, refused or given up, in plainer formats where the server minds one."""
        body, read = self._body(messages, seed, temperature), functools.partial(self._read, key)
        plainest, form = 0, FORMATS[-1]

        def formed() -> dict[str, Any]:
            nonlocal form
            form = self._form(plainest)
            return body | _response_format(form, schema)

        first: BrokenServerError | SampleError | None = None
        while True:
            if schema is None:
                plainest = len(FORMATS) - 1
            other_form = self._is_auto and self._form(plainest) != FORMATS[-1]
            tries = self._tries(attempts, first) if other_form or first else attempts
            try:
                answer = await self._http.send("chat/completions", formed, read, tries, other_form=other_form)
                break
            except (BrokenServerError, SampleError) as error:
                first = first or error
                if not self._may_step_down(form, error):
                    raise first from None
                plainest = FORMATS.index(form) + 1
                if isinstance(error, SampleError) and not self._format.settled:
                    self._format.name = self._form(plainest)  # Others need not find out by themselves.
            finally:
                self.usage.retries = self._http.retries
        if schema is not None and not self._format.settled:
            self._format.name, self._format.settled = form, True
        self.usage.count(answer.prompt_tokens, answer.completion_tokens)
        return answer

    def _form(self, plainest: int) -> str:
        return FORMATS[max(plainest, FORMATS.index(self._format.name))]

    def _tries(self, attempts: int, first: Exception | None) -> int:
        """How often a request is sent in one format: seldom, while another may be better."""
        if first is not None and self._format.settled:
            return 1
        return attempts if self._format.settled or self._format.name == FORMATS[-1] else min(attempts, 2)

    def _may_step_down(self, form: str, error: BrokenServerError | SampleError) -> bool:
        """Whether a request may be sent again in a plainer format.

        A server that has answered in a format and then refuses a request in it minds the request. One that breaks on
        the request may still break on its format, such as on a grammar.
        """
        if not self._is_auto or form == FORMATS[-1]:
            return False
        return isinstance(error, BrokenServerError) or not self._format.settled or form != self._format.name

    def _body(self, messages: Messages, seed: int, temperature: float | None) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.endpoint.model, "messages": list(messages)} | self.endpoint.sampling()
        if temperature is not None:
            body["temperature"] = temperature
        if self.endpoint.send_seed:
            body["seed"] = seed
        return body

    def _read(self, key: str | None, response: httpx2.Response) -> Answer | Failure:
        """Read a response, and keep the answer before another request takes its place."""
        try:
            answer = read_completion(response.content, self.endpoint.model)
        except ValueError as error:
            return Failure(self._http.redact(f"status 200 with no chat completion in it: {error}"))
        answer = dataclasses.replace(answer, text=self._http.redact(answer.text), model=self._http.redact(answer.model))
        if self.cache is not None and key is not None:
            self.cache.put(key, dataclasses.asdict(answer))
        return answer


def _response_format(form: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """How a request's body asks for JSON."""
    if form == "json_schema":
        strict = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": strict}}
    return {"response_format": {"type": form}} if form == "json_object" else {}
