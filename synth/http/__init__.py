"""HTTP endpoints and a client for them, with timeouts, retries, a concurrency limit and a circuit breaker."""

from .circuit_breaker import EndpointDownError
from .client import BrokenServerError, Failure, HttpClient
from .endpoint import SEEDS, HttpEndpoint, refuse_own_keys
from .loop import wait_for

__all__ = [
    "SEEDS",
    "BrokenServerError",
    "EndpointDownError",
    "Failure",
    "HttpClient",
    "HttpEndpoint",
    "refuse_own_keys",
    "wait_for",
]
