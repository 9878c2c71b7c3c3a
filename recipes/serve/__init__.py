"""Serving: a trained model over OpenAI's Realtime API and its audio endpoints, for many clients at once.

engine      answers many questions at once; one thread owns the model
listening   a thread for the recogniser: features and transcripts
turns       where a speaker begins and ends, in sound that comes in pieces
sound       rates and formats on the wire
protocol    what a session's settings are, and what its events and errors look like
realtime    one client's conversation over a WebSocket
http        the endpoints that answer one request
guard       who may connect: origins, hosts, tokens, and how many
app         all of it as one application; run starts it
"""

from .app import application
from .guard import Guard
from .limits import Limits
from .realtime import House
from .run import address, bound, context_turns, open_house, server

__all__ = ["Guard", "House", "Limits", "address", "application", "bound", "context_turns", "open_house", "server"]
