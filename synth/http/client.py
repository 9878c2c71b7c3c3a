"""An asynchronous HTTP client with retries, a concurrency limit, a circuit breaker and a timeout per request.

Language models and speech servers share it. Request bodies and the parsing of responses are the caller's.
"""

import asyncio
import functools
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import httpx2

from anytalk.synth.errors import EngineError, SampleError

from .circuit_breaker import CircuitBreaker
from .concurrency import ConcurrencyLimit, retry_after_s
from .endpoint import HttpEndpoint

OVERLOADED = {429, 503, 529}
RETRYABLE = {408, 409, 425, *OVERLOADED}
"""Statuses below 500 after which a retry can succeed; after every status from 500 on, it can."""
REFUSED = {400, 413, 422}
"""Statuses that say that the request itself is wrong."""
BROKEN = {500, 501}
"""Statuses of a server that is there and broke on this request; it may do better on another form of it."""

MAX_BACKOFF_S = 60.0
CONNECT_S = 10.0

AnswerT = TypeVar("AnswerT")


class BrokenServerError(EngineError):
    """The last response to a request had one of the statuses `BROKEN`."""


@dataclass(frozen=True)
class Failure:
    """Why a request has no usable response, and what to do about it.

    Attributes:
        what: what came instead.
        refused: the request itself is wrong: its row is rejected.
        permanent: a retry would not help.
        overloaded: the server is overloaded: fewer requests should be in flight.
        reason: slug with which the row is rejected after the last attempt; None where the row is deferred instead.
        wait_s: seconds in which nothing more should be sent.
        status: of the response; None where there was none, or its status was 200.
    """

    what: str
    refused: bool = False
    permanent: bool = False
    overloaded: bool = False
    reason: str | None = None
    wait_s: float = 0.0
    status: int | None = None


@functools.cache
def certificates() -> ssl.SSLContext:
    """The certificate authorities that https servers are verified against.

    Read once for all clients: reading them takes longer than some servers take to respond.
    """
    return httpx2.create_ssl_context()


class HttpClient:
    """A client of one endpoint in one event loop, for `async with`.

    Args:
        endpoint: where to send requests, and their limits.
        key: the API key, from `HttpEndpoint.read_key`.
        breaker: says whether the endpoint is down; clients of the same endpoint may share one.

    Attributes:
        concurrency: how many requests may be in flight.
        retries: requests that were sent again.
    """

    def __init__(self, endpoint: HttpEndpoint, key: str | None, breaker: CircuitBreaker) -> None:
        self.concurrency = ConcurrencyLimit(endpoint.max_concurrency)
        self.retries = 0
        self._endpoint, self._key, self._breaker = endpoint, key, breaker
        self._http = httpx2.AsyncClient(
            base_url=endpoint.base_url,
            verify=certificates(),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # One timeout for the whole request, in _post: a timeout per read never ends a response that trickles in.
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
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self,
        path: str,
        body: Callable[[], Mapping[str, Any]],
        read: Callable[[httpx2.Response], AnswerT | Failure],
        attempts: int,
    ) -> AnswerT:
        """Send a request, with retries.

        Args:
            path: below the base URL.
            body: makes the request's body, just before it is sent.
            read: parses a response of status 200.
            attempts: most times that it is sent.

        Raises:
            SampleError: `refused_request`, or the `Failure.reason` that `read` gave for the last response.
            EngineError: no attempt succeeded, or the endpoint is down; `BrokenServerError` for the statuses `BROKEN`.
        """
        tried = 0
        while True:
            tried += 1
            self._refuse_if_down()
            async with self.concurrency.slot() as sent:
                self._refuse_if_down()  # It may have gone down while this request waited for its slot.
                result = await self._post(path, body(), read)
                if isinstance(result, Failure) and result.overloaded and self._breaker.down is None:
                    self.concurrency.decrease(sent, result.wait_s)
            if not isinstance(result, Failure):
                self.concurrency.increase()
                return result
            if result.refused:
                raise SampleError("refused_request", result.what)
            if result.permanent or tried >= attempts:
                raise self._given_up(result, tried)
            self.retries += 1
            await asyncio.sleep(min(self._endpoint.backoff_s * 2 ** (tried - 1), MAX_BACKOFF_S))

    def redact(self, text: str) -> str:
        """Replace the API key in what a server sent: some servers repeat it in error messages."""
        return text.replace(self._key, "[key]") if self._key else text

    def _refuse_if_down(self) -> None:
        if self._breaker.down is not None:
            raise EngineError(self._breaker.down)

    def _given_up(self, failure: Failure, tried: int) -> SampleError | EngineError:
        if failure.reason is not None:
            return SampleError(failure.reason, f"{self._endpoint} sent {failure.what}; asked {tried} times")
        kind = BrokenServerError if failure.status in BROKEN else EngineError
        return kind(f"{self._endpoint}: {failure.what}" + (f"; sent {tried} times" if tried > 1 else ""))

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
            return Failure(self.redact(f"{type(error).__name__} {error}".strip()))
        return read(response) if response.status_code == 200 else self._refusal(response)

    def _refusal(self, response: httpx2.Response) -> Failure:
        """Classify a response whose status is not 200."""
        status = response.status_code
        what = f"status {status}: {' '.join(self.redact(response.text).split())[:300]}"
        retryable = status >= 500 or status in RETRYABLE
        overloaded = status in OVERLOADED
        wait_s = retry_after_s(response.headers.get("retry-after")) if overloaded else 0.0
        if wait_s > self._endpoint.max_wait_s:
            what = f"it asks to wait {wait_s:.0f} s, and max_wait_s is {self._endpoint.max_wait_s:g}"
            self._breaker.down, retryable = f"{self._endpoint}: {what}", False
        return Failure(
            what,
            refused=status in REFUSED,
            permanent=not retryable,
            overloaded=overloaded,
            wait_s=wait_s,
            status=status,
        )
