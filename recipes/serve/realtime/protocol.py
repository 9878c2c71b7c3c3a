"""The words of OpenAI's Realtime API that a session understands: its settings, its errors, and two dialects of names.

Source: https://platform.openai.com/docs/api-reference/realtime-client-events and -server-events. Clients written before
September 2025 ask for the *beta* dialect with the header `OpenAI-Beta: realtime=v1`; it differs in the shape of the
session and in some events' names.

A key that means nothing here (instructions, tools, a voice) is taken and has no effect: `session.updated` shows the
settings that hold. A value that would be done wrong is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from anytalk.recipes.serve.errors import ProtocolError
from anytalk.recipes.serve.sound import RATE_HZ

from .turns import TurnSettings

Event = dict[str, Any]
Modality = Literal["audio", "text"]

BETA_NAMES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
"""Of server events, by their names of today; `conversation.item.done` is new."""

EAGERNESS_S = {"low": 1.2, "medium": 0.7, "auto": 0.7, "high": 0.4}
"""Silence that ends a turn where a client asks for `semantic_vad`, which is done by silence here."""

MIN_SILENCE_S, MAX_SILENCE_S = 0.2, 5.0
MAX_PREFIX_S = 2.0


@dataclass(frozen=True)
class Detection:
    """Server-side turn detection, and what follows from a turn."""

    turns: TurnSettings = field(default_factory=TurnSettings)
    creates_response: bool = True
    interrupts_response: bool = True


@dataclass(frozen=True)
class SessionSettings:
    """Settings of one session.

    Args:
        modality: what answers are: speech with its transcript, or text.
        detection: None where the client says itself where turns end.
        transcribes: whether the client is told what the recogniser understood.
        max_output_tokens: steps of an answer, which for speech are codec frames; None for as many as there is room.
    """

    modality: Modality = "audio"
    detection: Detection | None = field(default_factory=Detection)
    transcribes: bool = False
    max_output_tokens: int | None = None

    def updated(self, given: Mapping[str, Any]) -> "SessionSettings":
        """Give the settings with what a `session.update` of either dialect changes.

        Raises:
            ProtocolError: a value would be done wrong.
        """
        settings = replace(self, **_answers(given))
        sound = _table(given, "audio")
        heard, spoken = _table(sound, "input", "audio."), _table(sound, "output", "audio.")
        _check_format(heard.get("format"), "audio.input.format")
        _check_format(spoken.get("format"), "audio.output.format")
        for key in ("input_audio_format", "output_audio_format"):
            if given.get(key, "pcm16") != "pcm16":
                raise ProtocolError(f"{key} is {given[key]!r}; this server speaks pcm16", param=f"session.{key}")
        for key, place in (("turn_detection", heard), ("turn_detection", given)):
            if key in place:
                settings = replace(settings, detection=_detection(place[key]))
        for key, place in (("transcription", heard), ("input_audio_transcription", given)):
            if key in place:
                settings = replace(settings, transcribes=place[key] is not None)
        return settings

    def overridden(self, response: Mapping[str, Any]) -> "SessionSettings":
        """Give the settings of one response, which may bring its own modality and limit."""
        return replace(self, **_answers(response))

    def describe(self, session_id: str, model: str, beta: bool) -> dict[str, Any]:
        """Give the session object that shows these settings."""
        detection = None if self.detection is None else _described(self.detection)
        transcription = {"model": "whisper"} if self.transcribes else None
        limit = self.max_output_tokens or "inf"
        if beta:
            return {
                "id": session_id,
                "object": "realtime.session",
                "model": model,
                "modalities": ["audio", "text"] if self.modality == "audio" else ["text"],
                "input_audio_format": "pcm16",
                "output_audio_format": "pcm16",
                "input_audio_transcription": transcription,
                "turn_detection": detection,
                "max_response_output_tokens": limit,
            }
        pcm = {"type": "audio/pcm", "rate": RATE_HZ}
        return {
            "id": session_id,
            "object": "realtime.session",
            "type": "realtime",
            "model": model,
            "output_modalities": [self.modality],
            "audio": {
                "input": {"format": pcm, "turn_detection": detection, "transcription": transcription},
                "output": {"format": pcm},
            },
            "max_output_tokens": limit,
        }


def _answers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings of answers from a session or a response of either dialect."""
    found: dict[str, Any] = {}
    for key in ("output_modalities", "modalities"):
        if given.get(key) is not None:
            wanted = given[key]
            if not isinstance(wanted, list) or not wanted or {str(x) for x in wanted} - {"audio", "text"}:
                raise ProtocolError(f'{key} must be ["audio"] or ["text"], not {wanted!r}', param=key)
            found["modality"] = "audio" if "audio" in wanted else "text"
    for key in ("max_output_tokens", "max_response_output_tokens"):
        if given.get(key) is not None:
            limit = given[key]
            if limit != "inf" and (not isinstance(limit, int) or limit < 1):
                raise ProtocolError(f'{key} must be a whole number from 1 on or "inf", not {limit!r}', param=key)
            found["max_output_tokens"] = None if limit == "inf" else limit
    return found


def _table(given: Mapping[str, Any], key: str, before: str = "") -> Mapping[str, Any]:
    value = given.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError(f"session.{before}{key} must be an object", param=f"session.{before}{key}")
    return value


def _check_format(given: Any, where: str) -> None:
    if given is None or given == "pcm16":
        return
    kind, rate = (given.get("type"), given.get("rate", RATE_HZ)) if isinstance(given, dict) else (given, RATE_HZ)
    if kind not in (None, "audio/pcm") or rate not in (None, RATE_HZ):
        raise ProtocolError(
            f"{where} is {given!r}; this server speaks audio/pcm: 16 bits at {RATE_HZ} Hz", param=f"session.{where}"
        )


def _detection(given: Any) -> Detection | None:
    where = "turn_detection"
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type", "server_vad") not in ("server_vad", "semantic_vad"):
        raise ProtocolError(f"{where}.type must be server_vad or semantic_vad; null for none", param=where)
    silence_s = _number(given, "silence_duration_ms", 500, 1000 * MIN_SILENCE_S, 1000 * MAX_SILENCE_S) / 1000
    if given.get("type") == "semantic_vad":
        eagerness = given.get("eagerness") or "auto"
        if eagerness not in EAGERNESS_S:
            raise ProtocolError(f"{where}.eagerness must be one of {', '.join(EAGERNESS_S)}", param=where)
        silence_s = EAGERNESS_S[eagerness]
    turns = TurnSettings(
        threshold=_number(given, "threshold", 0.5, 0.05, 0.95),
        prefix_padding_s=_number(given, "prefix_padding_ms", 300, 0, 1000 * MAX_PREFIX_S) / 1000,
        silence_s=silence_s,
    )
    return Detection(turns, given.get("create_response") is not False, given.get("interrupt_response") is not False)


def _number(given: Mapping[str, Any], key: str, default: float, least: float, most: float) -> float:
    value = given.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ProtocolError(
            f"turn_detection.{key} must be from {least:g} to {most:g}, not {value!r}", param=f"turn_detection.{key}"
        )
    return value


def _described(detection: Detection) -> dict[str, Any]:
    turns = detection.turns
    return {
        "type": "server_vad",
        "threshold": turns.threshold,
        "prefix_padding_ms": round(1000 * turns.prefix_padding_s),
        "silence_duration_ms": round(1000 * turns.silence_s),
        "create_response": detection.creates_response,
        "interrupt_response": detection.interrupts_response,
    }
