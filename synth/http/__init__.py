"""HTTP endpoints and a client for them, with timeouts, retries, a concurrency limit and a circuit breaker."""

from .circuit_breaker import CircuitBreaker
from .client import BrokenServerError, Failure, HttpClient
from .endpoint import SEEDS, HttpEndpoint, refuse_own_keys

__all__ = ["SEEDS", "BrokenServerError", "CircuitBreaker", "Failure", "HttpClient", "HttpEndpoint", "refuse_own_keys"]
