"""Settings of an OpenAI-compatible speech server and of its voices: instructions, and recordings to speak like."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import file_sha256
from anytalk.synth.http import HttpEndpoint, refuse_own_keys

from .terms import UNKNOWN, Terms

OWN_KEYS = {"input", "model", "response_format", "seed", "speed", "stream", "stream_format", "voice"}
"""Keys of a request's body that `extra` may not set: the client sets them."""

REFERENCE, REFERENCE_BASE64, REFERENCE_TEXT = "$reference", "$reference_base64", "$reference_text"
"""What stands for the recording, as a data URL or in base64 alone, and for its words in `extra`."""

AS_IN_VLLM = {"ref_audio": REFERENCE, "ref_text": REFERENCE_TEXT}
"""Where the recording stands unless `extra` says so (https://docs.vllm.ai/projects/vllm-omni, Speech API)."""

MEDIA_TYPES = {
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
}


@dataclass(frozen=True)
class ServedVoice:
    """Settings of one voice of a server.

    Attributes:
        voice: its name, as the server knows it; the name that it has in the recipe by default.
        instructions: how it should speak, for models that take instructions.
        extra: further keys of the request's body, before the server's. In its values `$reference` stands for the
            recording as a data URL, `$reference_base64` for it in base64 alone, `$reference_text` for its words.
        reference: a recording of the speaker, for servers that clone voices.
        reference_text: what is said in it.

    Raises:
        ValueError: `extra` holds a key that the client sets.
    """

    voice: str = ""
    instructions: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    reference_text: str = ""

    def __post_init__(self) -> None:
        refuse_own_keys(self.extra, OWN_KEYS)

    def fields(self) -> dict[str, Any]:
        """What it adds to a request's body.

        Raises:
            SetupError: the recording cannot be read.
        """
        extra = dict(self.extra)
        if self.instructions:
            extra = {"instructions": self.instructions} | extra
        if self.reference is None:
            return extra
        if not any(name in str(extra) for name in (REFERENCE, REFERENCE_BASE64)):
            extra |= {key: value for key, value in AS_IN_VLLM.items() if self.reference_text or value == REFERENCE}
        path = Path(self.reference)
        try:
            encoded = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise SetupError(f"reference {path} cannot be read: {error.strerror or error}") from error
        kind = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
        filled = {
            REFERENCE: f"data:{kind};base64,{encoded}",
            REFERENCE_BASE64: encoded,
            REFERENCE_TEXT: self.reference_text,
        }
        return {key: _fill(value, filled) for key, value in extra.items()}

    def fingerprint(self) -> dict[str, str]:
        """What of it changes the audio, without the recording's path."""
        said = {"instructions": self.instructions, "reference_text": self.reference_text}
        if self.reference is not None:
            said["reference_sha256"] = file_sha256(Path(self.reference))
        return {name: value for name, value in said.items() if value}


def _fill(value: Any, filled: Mapping[str, str]) -> Any:
    """Put texts in the place of their names, however deep."""
    if isinstance(value, Mapping):
        return {key: _fill(each, filled) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(each, filled) for each in value]
    return filled.get(value, value) if isinstance(value, str) else value


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
        voices: settings of single voices, by the name that they have in `server:SERVER/NAME`.
        revision: free text that names what the server runs; changing it makes a build synthesise its speech again.
        price_per_million_characters: for `anytalk plan`, in the currency of the other prices.

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
    voices: Mapping[str, ServedVoice] = field(default_factory=dict)
    revision: str = ""
    price_per_million_characters: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.response_format == "pcm" and self.pcm_rate_hz is None:
            raise ValueError("response_format pcm names no rate; set pcm_rate_hz, or take wav")
        for name in ("pcm_rate_hz", "sample_rate_hz"):
            rate_hz = getattr(self, name)
            if rate_hz is not None and not 8_000 <= rate_hz <= 96_000:
                raise ValueError(f"{name} must be from 8000 to 96000; got {rate_hz}")
        refuse_own_keys(self.extra, OWN_KEYS)
