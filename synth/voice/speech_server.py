"""Settings of an OpenAI-compatible speech server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anytalk.synth.http import HttpEndpoint, refuse_own_keys

from .terms import UNKNOWN, Terms

OWN_KEYS = {"input", "model", "response_format", "seed", "speed", "stream", "stream_format", "voice"}
"""Keys of a request's body that `SpeechServer.extra` may not set: the client sets them."""


@dataclass(frozen=True)
class SpeechServer(HttpEndpoint):
    """An OpenAI-compatible speech endpoint, with one voice or many.

    Attributes:
        language: BCP-47 tag of what its voices speak; mul if they speak many languages.
        terms: licence, source and consent of its voices.
        response_format: audio format that is requested; every container format names its own sample rate.
        pcm_rate_hz: sample rate of raw PCM, which has no header to name it.
        sample_rate_hz: rate that every response is resampled to.
        send_seed: whether requests carry a seed; few servers support it.
        extra: further keys of the request's body, such as {instructions: "Speak calmly."}.
        revision: free text that names what the server runs; changing it makes a build synthesise its speech again.

    Raises:
        ValueError: a value is out of range, or the URL or the variable's name is malformed.
    """

    language: str = "en"
    terms: Terms = UNKNOWN
    response_format: Literal["wav", "flac", "mp3", "opus", "aac", "pcm"] = "wav"
    pcm_rate_hz: int | None = None
    sample_rate_hz: int = 24_000
    send_seed: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    revision: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.response_format == "pcm" and self.pcm_rate_hz is None:
            raise ValueError("response_format pcm names no rate; set pcm_rate_hz, or take wav")
        for name in ("pcm_rate_hz", "sample_rate_hz"):
            rate_hz = getattr(self, name)
            if rate_hz is not None and not 8_000 <= rate_hz <= 96_000:
                raise ValueError(f"{name} must be from 8000 to 96000; got {rate_hz}")
        refuse_own_keys(self.extra, OWN_KEYS)
