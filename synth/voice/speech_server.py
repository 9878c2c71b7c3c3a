"""Where a server speaks, and how it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anytalk.synth.llm.endpoint import Endpoint

from .terms import UNKNOWN, Terms

OWN_KEYS = {"input", "model", "response_format", "seed", "speed", "stream", "stream_format", "voice"}
"""Keys of a request's body that `SpeechServer.extra` may not set: the voice does."""


@dataclass(frozen=True)
class SpeechServer:
    """An OpenAI-compatible speech endpoint; it may have many voices.

    Attributes:
        base_url: up to and with the version, such as http://localhost:8880/v1.
        model: name of the model, as the server knows it.
        language: BCP-47 tag of what its voices speak; mul if they speak many languages.
        terms: licence, source and consent of its voices.
        response_format: how the audio is asked for; any container names its own rate.
        pcm_rate_hz: rate of headerless pcm, which does not name it.
        sample_rate_hz: rate that everything is resampled to.
        api_key_env: NAME of the environment variable that holds the key; none where the server asks for no key.
        timeout_s: longest wait for one utterance, in seconds.
        max_concurrency: most requests under way at once; fewer when the server asks for patience.
        attempts: times that one request is sent before its row is deferred.
        backoff_s: wait before the second attempt, doubled for each further one up to a minute.
        max_wait_s: longest Retry-After that is obeyed.
        send_seed: whether requests carry a seed; few servers know it.
        extra: further keys of the request's body, such as {instructions: "Speak calmly."}.
        revision: what the server runs, in your words; with another one, what was spoken before is spoken anew.

    Raises:
        ValueError: if a value is out of range, or the URL or the variable's name is none.
    """

    base_url: str
    model: str
    language: str = "en"
    terms: Terms = UNKNOWN
    response_format: Literal["wav", "flac", "mp3", "opus", "aac", "pcm"] = "wav"
    pcm_rate_hz: int | None = None
    sample_rate_hz: int = 24_000
    api_key_env: str | None = None
    timeout_s: float = 60.0
    max_concurrency: int = 8
    attempts: int = 6
    backoff_s: float = 1.0
    max_wait_s: float = 120.0
    send_seed: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    revision: str = ""

    def __post_init__(self) -> None:
        self.endpoint()
        if self.response_format == "pcm" and self.pcm_rate_hz is None:
            raise ValueError("response_format pcm names no rate; set pcm_rate_hz, or take wav")
        for name in ("pcm_rate_hz", "sample_rate_hz"):
            rate_hz = getattr(self, name)
            if rate_hz is not None and not 8_000 <= rate_hz <= 96_000:
                raise ValueError(f"{name} must be from 8000 to 96000; got {rate_hz}")
        if own := OWN_KEYS & set(self.extra):
            raise ValueError(f"extra must not hold {', '.join(sorted(own))}: it has a setting of its own or none")

    def endpoint(self) -> Endpoint:
        """The address, key and limits, checked as those of any endpoint are."""
        return Endpoint(
            base_url=self.base_url,
            model=self.model,
            api_key_env=self.api_key_env,
            timeout_s=self.timeout_s,
            max_concurrency=self.max_concurrency,
            attempts=self.attempts,
            backoff_s=self.backoff_s,
            max_wait_s=self.max_wait_s,
        )
