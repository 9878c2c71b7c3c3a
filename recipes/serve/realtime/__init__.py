"""One client's conversation over a WebSocket, in the words of OpenAI's Realtime API.

turns      where a speaker begins and ends, in sound that comes in pieces
ear        the input buffer
protocol   a session's settings and the two dialects of names
reply      one answer as events
outbox     what is on its way to the client
session    what the client asks for, and what happens then
"""

from .outbox import Stalled
from .session import Session

__all__ = ["Session", "Stalled"]
