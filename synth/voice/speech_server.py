"""Where a server speaks, and how it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anytalk.synth.http import HttpEndpoint, refuse_own_keys

from .terms import UNKNOWN, Terms

OWN_KEYS = {"input", "model", "response_format", "seed", "speed", "stream", "stream_format", "voice"}
"""Keys of a request's body that `SpeechServer.extra` may not set: the voice does."""


@dataclass(frozen=True)
class SpeechServer(HttpEndpoint):
    """An OpenAI-compatible speech endpoint: a `HttpEndpoint` that may have many voices.

    Attributes:
        language: BCP-47 tag of what its voices speak; mul if they speak many languages.
        terms: licence, source and consent of its voices.
        response_format: how the audio is asked for; any container names its own rate.
        pcm_rate_hz: rate of headerless pcm, which does not name it.
        sample_rate_hz: rate that everything is resampled to.
        send_seed: whether requests carry a seed; few servers know it.
        extra: further keys of the request's body, such as {instructions: "Speak calmly."}.
        revision: what the server runs, in your words; with another one, what was spoken before is spoken anew.

    Raises:
        ValueError: if a value is out of range, or the URL or the variable's name is none.
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
