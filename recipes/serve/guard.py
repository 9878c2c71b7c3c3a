"""Who may connect: pages by their origin, clients by a token, and no more at once than there is room for."""

import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from .errors import Full

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_PROTOCOL = "openai-insecure-api-key."
"""A browser cannot set headers on a WebSocket: it offers its token as a subprotocol, as with OpenAI's API."""


class Places:
    """What may be there at once, and how many are.

    Args:
        most: places.
        what: says of those that are taken what they are, such as "sessions are open".
    """

    def __init__(self, most: int, what: str) -> None:
        self.most, self._what = most, what
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for as long as the block runs.

        Raises:
            Full: all are taken.
        """
        if self.taken >= self.most:
            raise Full(f"{self.taken} {self._what}, which is all this server takes; try again later")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Guard:
    """Decides about requests.

    Args:
        host: address that the server listens on. One of this machine is asked for by its own names only, so that no
            page can reach it through a name that it points here (DNS rebinding).
        origins: origins of pages that may connect beside the server's own, such as https://example.org.
        token: what clients must know; None for nothing.
        sessions: WebSocket sessions at once.
        posts: requests with a body at once.
    """

    def __init__(
        self, host: str, origins: Sequence[str] = (), token: str | None = None, sessions: int = 8, posts: int = 40
    ) -> None:
        self._is_local = host in LOOPBACK
        self.origins = {origin.rstrip("/") for origin in origins}
        self._token = token
        self.sessions = Places(sessions, "sessions are open")
        self.posts = Places(posts, "requests are being answered")
        """With a body, from its first byte on."""

    def refusal(self, connection: HTTPConnection) -> tuple[int, str] | None:
        """Say why a request is refused, as an HTTP status and a message; None where it is not."""
        headers = connection.headers
        if self._is_local and (name := _name_of(headers.get("host", ""))) not in LOOPBACK:
            return 403, f"this server is asked for as localhost, not as {name[:80]!r}"
        origin = headers.get("origin")
        if origin is not None and not self._may_come_from(origin, headers):
            return 403, f"pages of {origin[:80]!r} may not connect; start the server with --origin {origin[:80]}"
        return None

    def lacks_token(self, connection: HTTPConnection) -> bool:
        """Tell whether a token is needed, and not given or wrong."""
        if self._token is None:
            return False
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            offered = connection.headers.get("sec-websocket-protocol", "").split(",")
            keys = [x.strip().removeprefix(TOKEN_PROTOCOL) for x in offered if x.strip().startswith(TOKEN_PROTOCOL)]
            given = keys[0] if keys else ""
        return not hmac.compare_digest(given.strip().encode(), self._token.encode())

    def _may_come_from(self, origin: str, headers: Headers) -> bool:
        return origin in self.origins or urlsplit(origin).netloc == headers.get("host")


def _name_of(host: str) -> str:
    """Take a Host header's name, without port and brackets."""
    return urlsplit(f"//{host}").hostname or ""
