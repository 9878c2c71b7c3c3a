"""Serving: a trained model over OpenAI's Realtime API and its audio endpoints, for many clients at once.

engine      answers many questions at once
realtime    one client's conversation over a WebSocket
http        the endpoints that answer one request
guard       who may connect: origins, hosts, tokens, and how many
app         all of it as one application; run starts it
"""

from .app import application
from .guard import Guard
from .house import House
from .limits import Limits
from .run import address, bound, leave_a_core, open_house, server

__all__ = ["Guard", "House", "Limits", "address", "application", "bound", "leave_a_core", "open_house", "server"]
