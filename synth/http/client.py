"""An asynchronous HTTP client with retries, a concurrency limit, a circuit breaker and a timeout per request.

Language models and speech servers share it. Request bodies and the parsing of responses are the caller's.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from anytalk.synth.errors import EngineError, SampleError

from .circuit_breaker import UncountedError
from .concurrency import retry_after_s
from .endpoint import HttpEndpoint
from .loop import in_loop
from .server import Server, pool_of

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


class UncountedBrokenServerError(BrokenServerError, UncountedError):
    """The same of a request that will be sent in another form."""


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


class HttpClient:
    """A client of one endpoint, for callers in any thread or event loop. Clients of one server share its connections.

    Args:
        endpoint: where to send requests, and their limits.
        key: the API key, from `HttpEndpoint.read_key`.

    Attributes:
        retries: requests that were sent again.
    """

    def __init__(self, endpoint: HttpEndpoint, key: str | None) -> None:
        self.retries = 0
        self._endpoint, self._key = endpoint, key
        self._pool = pool_of(endpoint, key)

    def reset(self) -> None:
        """Forget that the endpoint was down: for a set-up, which finds out by itself."""
        self._pool.reset()

    async def send(
        self,
        path: str,
        body: Callable[[], Mapping[str, Any]],
        read: Callable[[httpx2.Response], AnswerT | Failure],
        attempts: int,
        *,
        other_form: bool = False,
    ) -> AnswerT:
        """Send a request, with retries.

        Args:
            path: below the base URL.
            body: makes the request's body, just before it is sent.
            read: parses a response of status 200, in a thread.
            attempts: most times that it is sent.
            other_form: whether it will be sent in another form if it fails with `BrokenServerError`.

        Raises:
            SampleError: `refused_request`, or the `Failure.reason` that `read` gave for the last response.
            EngineError: no attempt succeeded; `BrokenServerError` for the statuses `BROKEN`, `EndpointDownError` where
                the endpoint is left alone for now.
        """
        return await in_loop(self._send(path, body, read, attempts, other_form))

    async def _send(
        self,
        path: str,
        body: Callable[[], Mapping[str, Any]],
        read: Callable[[httpx2.Response], AnswerT | Failure],
        attempts: int,
        other_form: bool,
    ) -> AnswerT:
        tried = 0
        with self._pool.breaker.watch() as refuse_if_down:
            while True:
                server = self._pool.pick()
                async with server.pace.slot() as sent:
                    refuse_if_down()  # It may have gone down while this request waited for its slot.
                    if server.is_closed:
                        continue
                    tried += 1
                    result = await self._post(server, path, body(), read)
                    if isinstance(result, Failure) and result.overloaded and not server.is_closed:
                        server.pace.decrease(sent, result.wait_s)
                if not isinstance(result, Failure):
                    server.pace.increase()
                    server.succeeded()
                    return result
                if result.refused:
                    raise SampleError("refused_request", result.what)
                server.failed()
                if (result.permanent and not server.is_closed) or tried >= attempts:
                    raise self._given_up(result, tried, other_form)
                if server.is_closed:
                    self._pool.pick()
                self.retries += 1
                if not self._pool.has_ready():
                    await asyncio.sleep(max(self._backoff_s(tried), 0.0 if result.overloaded else result.wait_s))

    def _backoff_s(self, tried: int) -> float:
        """Wait after an attempt; random in part, so that requests that failed together do not come back together."""
        return min(self._endpoint.backoff_s * 2 ** min(tried - 1, 30), MAX_BACKOFF_S) * random.uniform(0.5, 1.0)

    def redact(self, text: str) -> str:
        """Replace the API key in what a server sent: some servers repeat it in error messages."""
        return text.replace(self._key, "[key]") if self._key else text

    def _given_up(self, failure: Failure, tried: int, other_form: bool) -> SampleError | EngineError:
        if failure.reason is not None:
            return SampleError(failure.reason, f"{self._endpoint} sent {failure.what}; asked {tried} times")
        told = f"{self._endpoint}: {failure.what}" + (f"; sent {tried} times" if tried > 1 else "")
        if failure.status not in BROKEN:
            return EngineError(told)
        return UncountedBrokenServerError(told) if other_form else BrokenServerError(told)

    async def _post(
        self,
        server: Server,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[httpx2.Response], AnswerT | Failure],
    ) -> AnswerT | Failure:
        """Send a request once."""
        limit_s = self._endpoint.timeout_s
        # One timeout for the whole request: a timeout per read never ends a response that trickles in.
        timeout = httpx2.Timeout(None, connect=min(CONNECT_S, limit_s))
        try:
            async with asyncio.timeout(limit_s):
                response = await server.http.post(path, json=body, timeout=timeout)
        except TimeoutError:
            return Failure(f"no answer within {limit_s:g} s", overloaded=True)
        except httpx2.RequestError as error:
            return Failure(self.redact(f"{type(error).__name__} {error}".strip()))
        if response.status_code == 200:
            # In a thread, since speech takes a while to decode.
            return await asyncio.to_thread(read, response)
        return self._refusal(server, response)

    def _refusal(self, server: Server, response: httpx2.Response) -> Failure:
        """Classify a response whose status is not 200."""
        status = response.status_code
        what = f"status {status}: {' '.join(self.redact(response.text).split())[:300]}"
        retryable = status >= 500 or status in RETRYABLE
        wait_s = retry_after_s(response.headers.get("retry-after")) if retryable else 0.0
        if wait_s > self._endpoint.max_wait_s:
            what = f"it asks to wait {wait_s:.0f} s, and max_wait_s is {self._endpoint.max_wait_s:g}"
            server.close(f"{self._endpoint}: {what}", wait_s)
        return Failure(
            what,
            refused=status in REFUSED,
            permanent=not retryable,
            overloaded=status in OVERLOADED,
            wait_s=wait_s,
            status=status,
        )
