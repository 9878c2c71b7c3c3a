"""Where a language model answers, how it is asked, and what that costs."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from anytalk.synth.errors import SetupError

OWN_KEYS = {"messages", "model", "response_format", "seed", "stream", "max_tokens", "max_completion_tokens"}
"""Keys of a request's body that `Endpoint.extra` may not set: the client does."""


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


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible chat endpoint.

    Attributes:
        base_url: up to and with the version, such as http://localhost:8000/v1.
        model: name of the model, as the server knows it.
        api_key_env: NAME of the environment variable that holds the key; none where the server asks for no key.
        timeout_s: longest wait for one answer, in seconds.
        max_concurrency: most requests under way at once; fewer when the server asks for patience.
        attempts: times that one request is sent before its row is deferred.
        backoff_s: wait before the second attempt, doubled for each further one up to a minute.
        max_wait_s: longest Retry-After that is obeyed; a longer one ends the run's requests, for the next run to send.
        max_tokens: longest answer, in tokens.
        token_limit_key: name of that limit in the request; newer OpenAI models want max_completion_tokens.
        temperature: of the sampling; None leaves it to the server.
        top_p: of the sampling; None leaves it to the server.
        send_seed: whether requests carry a seed; a few servers refuse it.
        response_format: how JSON is asked for; auto takes the strictest form that the server accepts.
        extra: further keys of the request's body, such as {chat_template_kwargs: {enable_thinking: false}}.
        price_in_per_million: price of a million prompt tokens, in any currency.
        price_out_per_million: price of a million completion tokens, in the same currency.

    Raises:
        ValueError: if a value is out of range, or the URL or the variable's name is none.
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    timeout_s: float = 120.0
    max_concurrency: int = 16
    attempts: int = 8
    backoff_s: float = 1.0
    max_wait_s: float = 120.0
    max_tokens: int = 1024
    token_limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: float | None = 0.9
    top_p: float | None = None
    send_seed: bool = True
    response_format: Literal["auto", "json_schema", "json_object", "none"] = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict)
    price_in_per_million: float | None = None
    price_out_per_million: float | None = None

    def __post_init__(self) -> None:
        try:
            url = urlsplit(self.base_url)
            secret = url.username or url.password or url.query or url.fragment
        except ValueError as error:
            raise ValueError(f"base_url is no URL: {error}") from None
        if secret:
            # Neither value is repeated: either may hold a key.
            raise ValueError("base_url must hold no user, password or query; put a key into a variable: api_key_env")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"base_url must begin with http:// or https:// and a host; got {self.base_url!r}")
        if self.api_key_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise ValueError("api_key_env must be the NAME of an environment variable, in capitals, not the key itself")
        for name in ("timeout_s", "max_wait_s", "max_concurrency", "attempts", "max_tokens"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be over 0; got {getattr(self, name)}")
        for name in ("backoff_s", "temperature", "top_p", "price_in_per_million", "price_out_per_million"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be 0 or more; got {value}")
        if own := OWN_KEYS & set(self.extra):
            raise ValueError(f"extra must not hold {', '.join(sorted(own))}: it has a setting of its own or none")

    def read_key(self) -> str | None:
        """Read the key from the environment.

        Raises:
            SetupError: the variable is not set, or holds what no HTTP header can carry.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise SetupError(f"the environment variable {self.api_key_env} is not set; put the key of {self} into it")
        if not (key.isascii() and key.isprintable()):
            raise SetupError(f"the environment variable {self.api_key_env} holds characters that no key has")
        return key

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

    def __str__(self) -> str:
        return f"{self.base_url} ({self.model})"
