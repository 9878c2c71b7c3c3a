"""Settings of an OpenAI-compatible chat endpoint, token counts and cost."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from anytalk.synth.http import HttpEndpoint, refuse_own_keys

OWN_KEYS = {"messages", "model", "response_format", "seed", "stream", "max_tokens", "max_completion_tokens"}
"""Keys of a request's body that `ChatEndpoint.extra` may not set: the client does."""


MAX_REPAIR_TEMPERATURE = 1.5


def repair_temperature(temperature: float | None) -> float:
    """Temperature of the request to mend an answer: higher, as at the same one many a model says the same again.

    >>> repair_temperature(0.9), repair_temperature(None), repair_temperature(2.0)
    (1.2, 1.3, 2.0)
    """
    base = 1.0 if temperature is None else temperature  # Servers take 1 by themselves.
    return max(base, min(MAX_REPAIR_TEMPERATURE, round(base + 0.3, 3)))


@dataclass
class Usage:
    """What a client has sent and got back.

    Attributes:
        answers: requests that the server answered.
        cached: requests that a cache answered, at no cost.
        retries: requests that were sent again after a failure.
        prompt_tokens: tokens sent, as the server counts them.
        completion_tokens: tokens got back, as the server counts them.
        uncounted: answers that came without a count of tokens.
    """

    answers: int = 0
    cached: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    def count(self, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        """Count an answer; None for tokens that the server did not count."""
        self.answers += 1
        self.uncounted += completion_tokens is None
        self.prompt_tokens += prompt_tokens or 0
        self.completion_tokens += completion_tokens or 0


@dataclass(frozen=True)
class ChatEndpoint(HttpEndpoint):
    """An OpenAI-compatible chat endpoint, with sampling settings and prices.

    Attributes:
        max_tokens: longest answer, in tokens.
        token_limit_key: name of that limit in the request; newer OpenAI models want max_completion_tokens.
        temperature: of the sampling; None leaves it to the server.
        top_p: of the sampling; None leaves it to the server.
        send_seed: whether requests carry a seed; a few servers reject it.
        response_format: how JSON is requested; auto takes the strictest format that the server accepts.
        extra: further keys of the request's body, such as {chat_template_kwargs: {enable_thinking: false}}.
        revision: free text that names what the server runs; answers are kept under it instead of the address.
        price_in_per_million: price of a million prompt tokens, in any currency.
        price_out_per_million: price of a million completion tokens, in the same currency.

    Raises:
        ValueError: a value is out of range, or the URL or the variable's name is malformed.
    """

    timeout_s: float = 120.0
    max_concurrency: int = 16
    attempts: int = 8
    max_tokens: int = 1024
    token_limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: float | None = 0.9
    top_p: float | None = None
    send_seed: bool = True
    response_format: Literal["auto", "json_schema", "json_object", "none"] = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict)
    revision: str = ""
    price_in_per_million: float | None = None
    price_out_per_million: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_tokens > 0:
            raise ValueError(f"max_tokens must be over 0; got {self.max_tokens}")
        for name in ("temperature", "top_p", "price_in_per_million", "price_out_per_million"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be 0 or more; got {value}")
        refuse_own_keys(self.extra, OWN_KEYS)

    @property
    def server(self) -> str:
        """What answers, for the cache: the revision, or the first address."""
        url = urlsplit(self.urls[0].rstrip("/"))
        return self.revision or url._replace(scheme=url.scheme.lower(), netloc=url.netloc.lower()).geturl()

    def for_repair(self) -> "ChatEndpoint":
        """The endpoint with the temperature at which an answer is mended."""
        return dataclasses.replace(self, temperature=repair_temperature(self.temperature))

    def sampling(self) -> dict[str, Any]:
        """Settings that decide what the model answers, seed and messages apart, as keys of a request's body."""
        chosen = {"temperature": self.temperature, "top_p": self.top_p, self.token_limit_key: self.max_tokens}
        return {key: value for key, value in chosen.items() if value is not None} | dict(self.extra)

    def cost(self, usage: Usage) -> float | None:
        """Price of what was sent and got back, in the currency of the prices; None if a price is not set."""
        if self.price_in_per_million is None or self.price_out_per_million is None:
            return None
        paid = usage.prompt_tokens * self.price_in_per_million + usage.completion_tokens * self.price_out_per_million
        return paid / 1e6
