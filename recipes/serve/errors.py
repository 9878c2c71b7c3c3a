"""What a client is told when something cannot be done, and how OpenAI's API says it."""

import secrets
from typing import Any

from anytalk.synth.errors import AnyTalkError, SampleError


class Full(AnyTalkError):
    """As many questions wait as may."""


class Closed(AnyTalkError):
    """The server stops."""


class ProtocolError(AnyTalkError):
    """A client asked for something that cannot be done.

    Args:
        message: what was wrong, and what to do.
        code: a slug for programs.
        param: the key that was wrong.
    """

    def __init__(self, message: str, code: str = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param


def new_id(kind: str) -> str:
    """Make an id, such as `item_6f…`."""
    return f"{kind}_{secrets.token_hex(10)}"


def error_body(error: AnyTalkError) -> dict[str, Any]:
    """Describe an error as the API does."""
    if isinstance(error, Full):
        return {"type": "server_error", "code": "server_full", "message": str(error), "param": None}
    if isinstance(error, Closed):
        return {"type": "server_error", "code": "server_stopping", "message": str(error), "param": None}
    if isinstance(error, ProtocolError):
        return {"type": "invalid_request_error", "code": error.code, "message": str(error), "param": error.param}
    if isinstance(error, SampleError):
        return {"type": "invalid_request_error", "code": error.reason, "message": error.detail, "param": None}
    return {"type": "server_error", "code": "failed", "message": str(error), "param": None}
