"""Servers of other people over HTTP: where they are, how they are asked, and when they are left alone.

Language models and voices are asked in the same way: with retries by status, at a pace that the server sets, and with
a limit on each request as a whole. What is sent and what comes back is the caller's.
"""

import asyncio
import contextlib
import functools
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from anytalk.synth.errors import EngineError, SampleError, SetupError

from .concurrency import ConcurrencyLimit, retry_after_s

OVERLOADED = {429, 503, 529}
PASSING = {408, 409, 425, *OVERLOADED}
"""Statuses below 500 that another try can cure; all from 500 on can."""
REFUSED = {400, 413, 422}
"""Statuses that are about what was sent."""

MAX_BACKOFF_S = 60.0
CONNECT_S = 10.0

SEEDS = 2**31
"""Every server's integers hold seeds below this."""

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class HttpEndpoint:
    """A server, and how patient we are with it.

    Attributes:
        base_url: up to and with the version, such as http://localhost:8000/v1.
        model: name of the model, as the server knows it.
        api_key_env: NAME of the environment variable that holds the key; none where the server asks for no key.
        timeout_s: longest wait for one answer, in seconds.
        max_concurrency: most requests under way at once; fewer when the server asks for patience.
        attempts: times that one request is sent before its row is deferred.
        backoff_s: wait before the second attempt, doubled for each further one up to a minute.
        max_wait_s: longest Retry-After that is obeyed; a longer one ends the run's requests, for the next run to send.

    Raises:
        ValueError: if a value is out of range, or the URL or the variable's name is none.
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    timeout_s: float = 60.0
    max_concurrency: int = 8
    attempts: int = 6
    backoff_s: float = 1.0
    max_wait_s: float = 120.0

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
        for name in ("timeout_s", "max_wait_s", "max_concurrency", "attempts"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be over 0; got {getattr(self, name)}")
        if not self.backoff_s >= 0:
            raise ValueError(f"backoff_s must be 0 or more; got {self.backoff_s}")

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
        return f"{self.base_url} ({self.model})"


def refuse_own_keys(extra: Mapping[str, Any], own: set[str]) -> None:
    """Raise for further keys of a request's body that have a setting of their own, or none.

    Raises:
        ValueError: if there is one.
    """
    if taken := own & set(extra):
        raise ValueError(f"extra must not hold {', '.join(sorted(taken))}: it has a setting of its own or none")


@dataclass(frozen=True)
class Failure:
    """Why a request brought no answer, and what follows from it.

    Attributes:
        what: what came instead.
        refused: it is about what was sent.
        lasting: another try would not help.
        overloaded: fewer should be under way.
        reason: slug with which the row is rejected if this stays; without one the machinery failed.
        wait_s: how long nothing more should be sent.
    """

    what: str
    refused: bool = False
    lasting: bool = False
    overloaded: bool = False
    reason: str | None = None
    wait_s: float = 0.0


class CircuitBreaker:
    """Notices that an endpoint is down, so that it is left alone for the rest of the run.

    Args:
        most: failures in a row before it counts as down.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.down: str | None = None
        self._failed_in_a_row = 0

    @contextlib.contextmanager
    def look(self) -> Iterator[None]:
        """Count what the block comes to: an answer, or an `EngineError`, which goes on."""
        try:
            yield
        except EngineError as error:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= self.most and self.down is None:
                self.down = f"{error}; nothing more is asked of it in this run"
            raise
        self._failed_in_a_row = 0


@functools.cache
def certificates() -> ssl.SSLContext:
    """The authorities that every https server is checked against.

    One for all: reading them takes longer than some servers take to answer.
    """
    return httpx2.create_ssl_context()


class HttpClient:
    """A client of an endpoint, for `async with`; of one event loop.

    Args:
        endpoint: whom to ask, and how patiently.
        key: what `HttpEndpoint.read_key` gave.
        breaker: knows whether the endpoint is down.
    """

    def __init__(self, endpoint: HttpEndpoint, key: str | None, breaker: CircuitBreaker) -> None:
        self.limit = ConcurrencyLimit(endpoint.max_concurrency)
        self.retries = 0
        self._endpoint, self._key, self._breaker = endpoint, key, breaker
        self._http = httpx2.AsyncClient(
            base_url=endpoint.base_url,
            verify=certificates(),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # The whole of a request has one limit, in _post: limits on its parts let a trickle go on for ever.
            timeout=httpx2.Timeout(None, connect=min(CONNECT_S, endpoint.timeout_s)),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=endpoint.max_concurrency),
        )

    async def __aenter__(self) -> "HttpClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def send(
        self,
        path: str,
        body: Callable[[], Mapping[str, Any]],
        read: Callable[[httpx2.Response], AnswerT | Failure],
        attempts: int,
    ) -> AnswerT:
        """Send a request until it is answered, refused or given up.

        Args:
            path: below the base URL.
            body: makes the request's body when its turn has come.
            read: reads a response of status 200.
            attempts: times that it is sent.

        Raises:
            SampleError: `refused_request`, or the reason that `read` gave for what it got each time.
            EngineError: there was no answer after all attempts, or the endpoint is down.
        """
        tried = 0
        while True:
            tried += 1
            self._refuse_if_down()
            async with self.limit.turn() as began:
                self._refuse_if_down()  # It may have gone down while this request waited.
                result = await self._post(path, body(), read)
                if isinstance(result, Failure) and result.overloaded and self._breaker.down is None:
                    self.limit.slow(began, result.wait_s)
            if not isinstance(result, Failure):
                self.limit.quicken()
                return result
            if result.refused:
                raise SampleError("refused_request", result.what)
            if result.lasting or tried >= attempts:
                raise self._given_up(result, tried)
            self.retries += 1
            await asyncio.sleep(min(self._endpoint.backoff_s * 2 ** (tried - 1), MAX_BACKOFF_S))

    def clean(self, text: str) -> str:
        """Take the key out of what a server said: some repeat it."""
        return text.replace(self._key, "[key]") if self._key else text

    def _refuse_if_down(self) -> None:
        if self._breaker.down is not None:
            raise EngineError(self._breaker.down)

    def _given_up(self, failure: Failure, tried: int) -> SampleError | EngineError:
        if failure.reason is not None:
            return SampleError(failure.reason, f"{self._endpoint} sent {failure.what}; asked {tried} times")
        return EngineError(f"{self._endpoint}: {failure.what}" + (f"; sent {tried} times" if tried > 1 else ""))

    async def _post(
        self, path: str, body: Mapping[str, Any], read: Callable[[httpx2.Response], AnswerT | Failure]
    ) -> AnswerT | Failure:
        """Send a request once."""
        limit_s = self._endpoint.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                response = await self._http.post(path, json=body)
        except TimeoutError:
            return Failure(f"no answer within {limit_s:g} s", overloaded=True)
        except httpx2.RequestError as error:
            return Failure(self.clean(f"{type(error).__name__} {error}".strip()))
        return read(response) if response.status_code == 200 else self._refusal(response)

    def _refusal(self, response: httpx2.Response) -> Failure:
        """What a response of another status than 200 means."""
        status = response.status_code
        what = f"status {status}: {' '.join(self.clean(response.text).split())[:300]}"
        passing = status >= 500 or status in PASSING
        overloaded = status in OVERLOADED
        wait_s = retry_after_s(response.headers.get("retry-after")) if overloaded else 0.0
        if wait_s > self._endpoint.max_wait_s:
            what = f"it asks to wait {wait_s:.0f} s, and max_wait_s is {self._endpoint.max_wait_s:g}"
            self._breaker.down, passing = f"{self._endpoint}: {what}", False
        return Failure(what, refused=status in REFUSED, lasting=not passing, overloaded=overloaded, wait_s=wait_s)
