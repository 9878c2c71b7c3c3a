"""One response of a session: the pieces of an answer as the events of OpenAI's Realtime API."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anytalk.model import Piece
from anytalk.recipes.serve.errors import error_body, new_id
from anytalk.recipes.serve.sound import pcm_text
from anytalk.synth.audio import Waveform
from anytalk.synth.errors import AnyTalkError

from .protocol import Event, SessionSettings


class Reply:
    """Tells a client of one answer, from `response.created` to `response.done`.

    Args:
        send: takes events.
        settings: of the response.
        conversation_id: of the session.
        previous: the item that it answers.
        metadata: of the client, given back.
    """

    def __init__(
        self,
        send: Callable[[Event], None],
        settings: SessionSettings,
        conversation_id: str,
        previous: str | None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.id, self.item_id = new_id("resp"), new_id("item")
        self.text, self.steps = "", 0
        self.is_over = False
        self._sound: list[Waveform] = []
        self._send, self._settings, self._conversation = send, settings, conversation_id
        self._previous, self._metadata = previous, metadata
        self._speaks = settings.modality == "audio"
        self._at = {"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0}

    @property
    def sound(self) -> Waveform:
        """What was said so far."""
        return np.concatenate([np.zeros(0, np.float32), *self._sound])

    def begin(self) -> None:
        """Say that an answer is coming."""
        self._send({"type": "response.created", "response": self._response("in_progress", None, [])})
        item = self._item("in_progress", [])
        self._send({"type": "response.output_item.added", "response_id": self.id, "output_index": 0, "item": item})
        self._send({"type": "conversation.item.added", "previous_item_id": self._previous, "item": item})
        self._send({"type": "response.content_part.added", **self._at, "part": self._part("")})

    def push(self, piece: Piece) -> None:
        """Send what a piece brings, and after the last one that it was the last."""
        self.steps = piece.steps
        if piece.text:
            self.text += piece.text
            kind = "response.output_audio_transcript" if self._speaks else "response.output_text"
            self._send({"type": f"{kind}.delta", **self._at, "delta": piece.text})
        if len(piece.pcm) and self._speaks:
            self._sound.append(piece.pcm)
            self._send({"type": "response.output_audio.delta", **self._at, "delta": pcm_text(piece.pcm)})
        if piece.end is not None:
            if piece.end == "limit":
                self.finish("incomplete", reason="max_output_tokens")
            else:
                self.finish("completed")

    def finish(self, status: str, *, reason: str | None = None, error: AnyTalkError | None = None) -> None:
        """Close what was opened, once.

        Args:
            status: `completed`, `incomplete`, `cancelled` or `failed`.
            reason: why it is incomplete or cancelled.
            error: why it failed.
        """
        if self.is_over:
            return
        self.is_over = True
        if self._speaks:
            self._send({"type": "response.output_audio.done", **self._at})
            self._send({"type": "response.output_audio_transcript.done", **self._at, "transcript": self.text})
        else:
            self._send({"type": "response.output_text.done", **self._at, "text": self.text})
        self._send({"type": "response.content_part.done", **self._at, "part": self._part(self.text)})
        key = "transcript" if self._speaks else "text"
        content = [{"type": "output_audio" if self._speaks else "output_text", key: self.text}]
        item = self._item("completed" if status == "completed" else "incomplete", content)
        self._send({"type": "response.output_item.done", "response_id": self.id, "output_index": 0, "item": item})
        self._send({"type": "conversation.item.done", "previous_item_id": self._previous, "item": item})
        details: dict[str, Any] | None = None
        if status != "completed":
            details = {"type": status, "reason": reason, "error": error_body(error) if error else None}
        self._send({"type": "response.done", "response": self._response(status, details, [item])})

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "audio", "transcript": text} if self._speaks else {"type": "text", "text": text}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _response(self, status: str, details: dict[str, Any] | None, output: list[Any]) -> dict[str, Any]:
        spoken = self.steps if self._speaks else 0
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": output,
            "conversation_id": self._conversation,
            "output_modalities": [self._settings.modality],
            "modalities": ["audio", "text"] if self._speaks else ["text"],
            "max_output_tokens": self._settings.max_output_tokens or "inf",
            "metadata": self._metadata,
            "usage": {
                "total_tokens": self.steps,
                "input_tokens": 0,
                "output_tokens": self.steps,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
                "output_token_details": {"text_tokens": self.steps - spoken, "audio_tokens": spoken},
            },
        }
