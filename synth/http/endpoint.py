"""Where an HTTP endpoint is, and the limits on its requests: timeout, concurrency, attempts."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from anytalk.synth.errors import SetupError

SEEDS = 2**31
"""Seeds in a request's body stay below this: some servers hold them in 32-bit signed integers."""


@dataclass(frozen=True)
class HttpEndpoint:
    """An HTTP endpoint, and the limits on requests to it.

    Attributes:
        base_url: up to and with the version, such as http://localhost:8000/v1; a list of several servers that run the
            same, among which requests are spread.
        model: name of the model, as the server knows it.
        api_key_env: NAME of the environment variable that holds the key; none where the server asks for no key.
        timeout_s: timeout of one request from connecting to the last byte, in seconds.
        max_concurrency: most requests in flight at once to each server; fewer while it says that it is overloaded.
        attempts: times that one request is sent before its row is deferred to the next run.
        backoff_s: wait before the second attempt, doubled for each further one up to a minute; each is cut by a random
            part, up to half.
        max_wait_s: longest Retry-After that is waited for, in seconds; after a longer one, no requests are sent for
            that time, and their rows are deferred to the next run.

    Raises:
        ValueError: a value is out of range, or the URL or the variable's name is malformed.
    """

    base_url: str | tuple[str, ...]
    model: str
    api_key_env: str | None = None
    timeout_s: float = 60.0
    max_concurrency: int = 8
    attempts: int = 6
    backoff_s: float = 1.0
    max_wait_s: float = 120.0

    def __post_init__(self) -> None:
        if not self.urls or len(set(self.urls)) < len(self.urls):
            raise ValueError(f"base_url must name one server or more, each once; it names {len(self.urls)}")
        for number, url in enumerate(self.urls, 1):
            _check_url(url, repr(url) if isinstance(self.base_url, str) else f"something else as number {number}")
        if self.api_key_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise ValueError("api_key_env must be the NAME of an environment variable, in capitals, not the key itself")
        for name in ("timeout_s", "max_wait_s", "max_concurrency", "attempts"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be over 0; got {getattr(self, name)}")
        if not self.backoff_s >= 0:
            raise ValueError(f"backoff_s must be 0 or more; got {self.backoff_s}")

    @property
    def urls(self) -> tuple[str, ...]:
        """Base URLs of all its servers."""
        return (self.base_url,) if isinstance(self.base_url, str) else tuple(self.base_url)

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

    def __str__(self) -> str:
        more = f" and {len(self.urls) - 1} more" if len(self.urls) > 1 else ""
        return f"{self.urls[0]}{more} ({self.model})"


def _check_url(text: str, shown: str) -> None:
    try:
        url = urlsplit(text)
        secret = url.username or url.password or url.query or url.fragment
    except ValueError as error:
        raise ValueError(f"base_url is no URL: {error}") from None
    if secret:
        # Neither value is repeated: either may hold a key.
        raise ValueError("base_url must hold no user, password or query; put a key into a variable: api_key_env")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"base_url must begin with http:// or https:// and a host; got {shown}")


def refuse_own_keys(extra: Mapping[str, Any], own: set[str]) -> None:
    """Refuse extra keys of a request's body that the client sets itself.

    Args:
        extra: keys that a user adds to the body.
        own: keys that the client sets from its own settings, or that must not be set.

    Raises:
        ValueError: `extra` holds one of `own`.
    """
    if taken := own & set(extra):
        raise ValueError(f"extra must not hold {', '.join(sorted(taken))}: it has a setting of its own or none")
