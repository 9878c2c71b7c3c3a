"""The servers that this process sends requests to: each has one connection pool and one pace, whoever asks.

Several addresses may serve one endpoint. Requests go to the one with most room, and not to one that has just failed.
"""

import functools
import os
import ssl
import time

import httpx2

from .circuit_breaker import CircuitBreaker, EndpointDownError
from .concurrency import ConcurrencyLimit
from .endpoint import HttpEndpoint

GIVE_UP_AFTER = 8
"""Requests in a row that fail after all their retries, from which an endpoint counts as down."""

LONGEST_REST_S = 60.0


@functools.cache
def certificates() -> ssl.SSLContext:
    """The certificate authorities that https servers are verified against.

    Read once for all: reading them takes longer than some servers take to respond.
    """
    return httpx2.create_ssl_context()


class Server:
    """One address of an endpoint.

    Args:
        url: its base URL.
        key: the API key.
        max_concurrency: most requests in flight.

    Attributes:
        http: the connections.
        pace: how many requests may be in flight.
        closed: why it is not asked before `closed_until`, by `time.monotonic`.
    """

    def __init__(self, url: str, key: str | None, max_concurrency: int) -> None:
        self.http = httpx2.AsyncClient(
            base_url=url,
            verify=certificates(),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=max_concurrency),
        )
        self.pace = ConcurrencyLimit(max_concurrency)
        self.closed = ""
        self.closed_until = 0.0
        self._failed_in_a_row = 0
        self._rests_until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether it asked for a longer wait than is waited for."""
        return time.monotonic() < self.closed_until

    @property
    def is_resting(self) -> bool:
        """Whether it has failed so recently that another server should be asked."""
        return time.monotonic() < self._rests_until

    def close(self, why: str, wait_s: float) -> None:
        """Send nothing for some seconds."""
        self.closed, self.closed_until = why, time.monotonic() + wait_s

    def failed(self) -> None:
        """Count a failure: after each in a row the server rests twice as long."""
        self._failed_in_a_row += 1
        self._rests_until = time.monotonic() + min(2.0 ** min(self._failed_in_a_row - 1, 10), LONGEST_REST_S)

    def succeeded(self) -> None:
        """End its rest."""
        self._failed_in_a_row, self._rests_until = 0, 0.0


class ServerPool:
    """The servers of one endpoint.

    Args:
        servers: one or more.

    Attributes:
        breaker: says whether the endpoint is down.
    """

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers
        self.breaker = CircuitBreaker(GIVE_UP_AFTER)

    def pick(self) -> Server:
        """The server that the next request goes to.

        Raises:
            EndpointDownError: all of them asked for a long wait.
        """
        ready = [server for server in self.servers if not server.is_closed]
        if not ready:
            raise EndpointDownError(self.servers[0].closed)
        return min(ready, key=lambda server: (server.is_resting, server.pace.load))

    def has_ready(self) -> bool:
        """Whether a request that failed may be sent again at once, as a server is there that has not failed."""
        return any(not server.is_closed and not server.is_resting for server in self.servers)

    def reset(self) -> None:
        """Forget what failed."""
        self.breaker.reset()
        for server in self.servers:
            server.succeeded()
            server.closed_until = 0.0


@functools.cache
def _server(url: str, key: str | None, max_concurrency: int) -> Server:
    return Server(url, key, max_concurrency)


@functools.cache
def _pool(urls: tuple[str, ...], key: str | None, max_concurrency: int) -> ServerPool:
    return ServerPool([_server(url, key, max_concurrency) for url in urls])


def pool_of(endpoint: HttpEndpoint, key: str | None) -> ServerPool:
    """The servers of an endpoint: the same ones for all who ask it in this process."""
    return _pool(endpoint.urls, key, endpoint.max_concurrency)


for _cached in (_server, _pool):
    # Their connections belong to a loop whose thread does not survive a fork.
    os.register_at_fork(after_in_child=_cached.cache_clear)
