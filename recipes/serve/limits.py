"""Limits on what one client can make the server hold or do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server; each protects its memory or its other clients.

    Args:
        sessions: WebSocket sessions at once, and answers at once.
        waiting: questions that may wait for an answer beside those.
        message_bytes: of one WebSocket message: 30 s of sound as base64 are 2 MB.
        body_bytes: of one HTTP request.
        head_s: for which a connection may be there without a request.
        body_s: for which a client may send it.
        turn_s: of a spoken question; what the recogniser hears at once.
        session_s: of a session, as in OpenAI's API.
        idle_s: without a message from the client.
        unsent_bytes: that a session may hold for a client that reads slowly: a whole answer as base64 is about 11 MB.
        stalled_s: for which a client may read nothing of what waits for it.
    """

    sessions: int = 8
    waiting: int = 32
    message_bytes: int = 4 << 20
    body_bytes: int = 25 << 20
    head_s: float = 20.0
    body_s: float = 60.0
    turn_s: float = 30.0
    session_s: float = 3600.0
    idle_s: float = 600.0
    unsent_bytes: int = 16 << 20
    stalled_s: float = 20.0
