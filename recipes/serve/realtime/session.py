"""One client's conversation over a WebSocket, in the words of OpenAI's Realtime API (see `protocol`)."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from anytalk.model import Piece, Task
from anytalk.recipes.serve.engine import Answering, Question
from anytalk.recipes.serve.errors import ProtocolError, error_body, new_id
from anytalk.recipes.serve.house import House
from anytalk.recipes.serve.sound import HEARING_RATE_HZ, Incoming, decoded, samples_of
from anytalk.recipes.talk import Conversation
from anytalk.synth.audio import Waveform
from anytalk.synth.errors import AnyTalkError, SampleError

from .ear import Ear
from .outbox import Outbox
from .protocol import BETA_NAMES, Event, SessionSettings
from .reply import Reply
from .turns import Paused, Started


@dataclass(frozen=True, eq=False)
class _Asked:
    """A user's item that can be answered."""

    item_id: str
    asked: Waveform | str
    features: "Future[Tensor] | None" = None


class Session:
    """A client that is connected.

    Args:
        house: what it shares with others.
        send: sends a text.
        beta: whether it speaks the API's beta dialect.
    """

    def __init__(self, house: House, send: Callable[[str], Awaitable[None]], *, beta: bool = False) -> None:
        self.id = new_id("sess")
        self._house, self._beta = house, beta
        self._settings = SessionSettings()
        self._conversation_id = new_id("conv")
        self._conversation = Conversation(house.context_turns)
        self.outbox = Outbox(send, house.limits.unsent_bytes, house.limits.stalled_s)
        self._loop = asyncio.get_running_loop()
        self._ear = Ear(house.vad, house.limits.turn_s)
        self._ear.detect(self._settings.detection)
        self._item_id = new_id("item")
        """Of the user's turn that comes next."""
        self._asked: _Asked | None = None
        """The last of the user's items that can be answered."""
        self._answered: _Asked | None = None
        """The item that was answered last, or is answered now."""
        self._last_id: str | None = None
        """Of the conversation's last item, whoever's it is."""
        self._early: tuple[Waveform, Future[Tensor]] | None = None
        """A turn that may be over, and its features."""
        self._reply: Reply | None = None
        self._answering: Answering | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Callable[[Event], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.delete": self._delete_item,
            "conversation.item.truncate": self._truncate_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    def begin(self) -> None:
        """Greet the client."""
        self._send({"type": "session.created", "session": self._described()})
        if self._beta:
            conversation = {"id": self._conversation_id, "object": "realtime.conversation"}
            self._send({"type": "conversation.created", "conversation": conversation})

    async def receive(self, message: str) -> None:
        """Do what a message says; what is wrong with it is told in an `error` event."""
        event: Any = None
        try:
            try:
                event = json.loads(message)
            except (ValueError, RecursionError) as error:
                raise ProtocolError(f"the message is not JSON: {error}", "invalid_json") from error
            if not isinstance(event, dict) or not isinstance(event.get("type"), str):
                raise ProtocolError("a message must be a JSON object with a type", "invalid_event", "type")
            handler = self._handlers.get(event["type"])
            if handler is None:
                known = ", ".join(self._handlers)
                raise ProtocolError(
                    f"{event['type'][:80]!r} is not known here; known: {known}", "unknown_event", "type"
                )
            await handler(event)
        except AnyTalkError as error:
            self.fail(error, event.get("event_id") if isinstance(event, dict) else None)

    def fail(self, error: AnyTalkError, event_id: Any = None) -> None:
        """Tell the client of an error."""
        told = event_id if isinstance(event_id, str) else None
        self._send({"type": "error", "error": {**error_body(error), "event_id": told}})

    def end(self) -> None:
        """Let everything go that works for this client."""
        self._stop_reply(None)
        for task in self._tasks:
            task.cancel()
        self._forget_early()
        self._stop_listening(self._asked)

    def _send(self, event: Event) -> None:
        if self._beta:
            if event["type"] == "conversation.item.done":
                return
            event = {**event, "type": BETA_NAMES.get(event["type"], event["type"])}
        self.outbox.put(event)

    def _described(self) -> dict[str, Any]:
        return self._settings.describe(self.id, self._house.model, self._beta)

    # The client's events

    async def _update(self, event: Event) -> None:
        self._settings = self._settings.updated(_object(event, "session"))
        await asyncio.to_thread(self._ear.detect, self._settings.detection)
        self._send({"type": "session.updated", "session": self._described()})

    async def _append(self, event: Event) -> None:
        samples = samples_of(decoded(_text(event, "audio")))
        for found in await asyncio.to_thread(self._ear.append, samples):
            if isinstance(found, Started):
                self._speech_started(found)
            elif isinstance(found, Paused):
                self._listen_early(found.sound)
            else:
                stopped = {"audio_end_ms": round(1000 * found.at_s), "item_id": self._item_id}
                self._send({"type": "input_audio_buffer.speech_stopped", **stopped})
                self._turn_is_over(found.sound)

    def _speech_started(self, found: Started) -> None:
        started = {"audio_start_ms": round(1000 * found.at_s), "item_id": self._item_id}
        self._send({"type": "input_audio_buffer.speech_started", **started})
        if self._settings.detection and self._settings.detection.interrupts_response:
            self._stop_reply("turn_detected")

    def _listen_early(self, sound: Waveform) -> None:
        """Begin with a turn that may be over, when the recogniser has nothing better to do."""
        self._forget_early()
        self._early = sound, self._house.engine.listener.features(sound, self.id, maybe=True)

    def _forget_early(self) -> None:
        if self._early is not None:
            self._early[1].cancel()
        self._early = None

    def _listen(self, sound: Waveform) -> "Future[Tensor]":
        return self._house.engine.listener.features(sound, self.id)

    def _turn_is_over(self, sound: Waveform) -> None:
        self._take_sound(sound)
        detection = self._settings.detection
        if detection is not None and detection.creates_response:
            try:
                self._respond(self._settings, None)
            except AnyTalkError as error:
                self.fail(error)

    def _take_sound(self, sound: Waveform) -> None:
        """Make a turn an item, and begin to listen to it."""
        item_id, self._item_id = self._item_id, new_id("item")
        if self._early is not None and len(self._early[0]) == len(sound):
            features, self._early = self._early[1], None
            self._house.engine.listener.want(features)
        else:
            self._forget_early()
            features = self._listen(sound)
        committed = {"previous_item_id": self._last_id, "item_id": item_id}
        self._send({"type": "input_audio_buffer.committed", **committed})
        self._add_item(_Asked(item_id, sound, features), self._last_id)

    def _add_item(self, asked: _Asked, previous: str | None) -> None:
        self._stop_listening(self._asked)
        self._asked = asked
        spoken = not isinstance(asked.asked, str)
        content = {"type": "input_audio", "transcript": None} if spoken else {"type": "input_text", "text": asked.asked}
        self._acknowledge(_item(asked.item_id, "user", [content]), previous)
        if self._settings.transcribes and not isinstance(asked.asked, str):
            task = self._loop.create_task(self._transcribe(asked.item_id, asked.asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _stop_listening(self, asked: _Asked | None) -> None:
        """Stop listening to an item that nobody can ask for any more, unless it is being answered."""
        is_answered = asked is self._answered and self._reply is not None and not self._reply.is_over
        if asked is not None and asked.features is not None and not is_answered:
            asked.features.cancel()

    def _acknowledge(self, item: dict[str, Any], previous: str | None) -> None:
        if previous == self._last_id:
            self._last_id = item["id"]
        self._send({"type": "conversation.item.added", "previous_item_id": previous, "item": item})
        self._send({"type": "conversation.item.done", "previous_item_id": previous, "item": item})

    async def _transcribe(self, item_id: str, sound: Waveform) -> None:
        at = {"item_id": item_id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        try:
            text = await asyncio.wrap_future(self._house.engine.listener.transcript(sound, self.id))
        except AnyTalkError as error:
            self._send({"type": f"{kind}.failed", **at, "error": error_body(error)})
            return
        usage = {"type": "duration", "seconds": round(len(sound) / HEARING_RATE_HZ, 3)}
        self._send({"type": f"{kind}.completed", **at, "transcript": text, "usage": usage})

    async def _commit(self, event: Event) -> None:
        self._take_sound(await asyncio.to_thread(self._ear.commit))

    async def _clear(self, event: Event) -> None:
        self._ear.clear()
        self._send({"type": "input_audio_buffer.cleared"})

    async def _create_item(self, event: Event) -> None:
        given = _object(event, "item")
        item_id = str(given["id"])[:128] if given.get("id") else new_id("item")
        previous = self._previous_of(event)
        if given.get("role") in ("assistant", "system") and given.get("type", "message") == "message":
            # The model has no place for them: they are acknowledged, and not answered to.
            self._acknowledge(_item(item_id, given["role"], given.get("content") or []), previous)
            return
        self._add_item(await self._read_item(item_id, given), previous)

    def _previous_of(self, event: Event) -> str | None:
        """Find the item that a new one comes behind: the last one, or another that the client names."""
        named = event.get("previous_item_id")
        if named == "root":
            return None
        return str(named)[:128] if named else self._last_id

    async def _delete_item(self, event: Event) -> None:
        """Forget a question that was not answered; what was answered stays in what the model has read."""
        item_id = event.get("item_id")
        if not isinstance(item_id, str):
            raise ProtocolError("item_id must be an item's id", "missing_required_parameter", "item_id")
        if self._asked is not None and self._asked.item_id == item_id:
            self._stop_listening(self._asked)
            self._asked = None
        self._send({"type": "conversation.item.deleted", "item_id": item_id[:128]})

    async def _read_item(self, item_id: str, given: Mapping[str, Any]) -> _Asked:
        """Read a user's message: its text, or else its sound.

        Raises:
            ProtocolError: it is another kind of item, or holds neither.
        """
        if given.get("type", "message") != "message" or given.get("role") != "user":
            raise ProtocolError(
                "an item must be a message of the user; tools are not known to this model", param="item.type"
            )
        content = given.get("content")
        parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        texts = [str(part.get("text") or "") for part in parts if part.get("type") in ("input_text", "text")]
        sounds = [part for part in parts if part.get("type") == "input_audio"]
        if len(sounds) == 1 and not texts:
            samples = samples_of(decoded(_text(sounds[0], "audio")))
            if len(samples) > self._house.limits.turn_s * 24_000:
                raise SampleError("too_long", f"a question lasts {self._house.limits.turn_s:g} s at most")
            sound = await asyncio.to_thread(Incoming().push, samples, last=True)
            return _Asked(item_id, sound, self._listen(sound))
        if sounds or not any(text.strip() for text in texts):
            raise ProtocolError("an item must hold input_text or one input_audio", param="item.content")
        return _Asked(item_id, "\n".join(texts))

    async def _truncate_item(self, event: Event) -> None:
        heard_ms = event.get("audio_end_ms")
        if not isinstance(heard_ms, int) or heard_ms < 0:
            raise ProtocolError("audio_end_ms must be a whole number of milliseconds", param="audio_end_ms")
        codec = self._house.engine.talker.codec
        frames = -(-heard_ms * codec.sample_rate_hz // (1000 * codec.frame_samples))
        if self._reply is not None and event.get("item_id") == self._reply.item_id:
            self._house.engine.send(lambda: self._conversation.truncate(frames))
        told = {"item_id": event.get("item_id"), "content_index": event.get("content_index", 0)}
        self._send({"type": "conversation.item.truncated", **told, "audio_end_ms": heard_ms})

    async def _create_response(self, event: Event) -> None:
        given = _object(event, "response", needed=False)
        asked = self._asked
        if isinstance(given.get("input"), list):
            messages = [x for x in given["input"] if isinstance(x, dict) and x.get("role") == "user"]
            asked = await self._read_item(new_id("item"), messages[-1]) if messages else None
        metadata = given.get("metadata") if isinstance(given.get("metadata"), dict) else None
        self._respond(self._settings.overridden(given), metadata, asked)

    async def _cancel_response(self, event: Event) -> None:
        if self._reply is None or self._reply.is_over:
            raise ProtocolError("there is no response to cancel", "response_cancel_not_active")
        self._stop_reply("client_cancelled")

    # Answers

    def _respond(
        self, settings: SessionSettings, metadata: Mapping[str, Any] | None, asked: _Asked | None = None
    ) -> None:
        if self._reply is not None and not self._reply.is_over:
            raise ProtocolError("a response is on its way; cancel it first", "conversation_already_has_active_response")
        self._reply = reply = Reply(self._send, settings, self._conversation_id, self._last_id, metadata)
        self._last_id = reply.item_id
        reply.begin()
        try:
            self._answering = self._ask(reply, settings, asked or self._asked)
        except AnyTalkError as error:
            # Not an `error` event: clients that people have (Pipecat) take one for the end of the session.
            reply.finish("failed", error=error)

    def _ask(self, reply: Reply, settings: SessionSettings, asked: _Asked | None) -> Answering:
        """Ask the engine, and have what comes told by a reply.

        Raises:
            ProtocolError: there is nothing to answer.
            Full: as many questions wait as may.
        """
        if asked is None:
            raise ProtocolError("there is nothing to answer; send input_audio or input_text first", "nothing_to_answer")
        spoken, written = (Task.A1A2, Task.T1A2) if settings.modality == "audio" else (Task.A1T2, Task.T1T2)
        task = written if asked.features is None else spoken
        text = asked.asked if isinstance(asked.asked, str) else ""
        question = Question(task, text, asked.features, self._conversation, settings.max_output_tokens, self.id)
        self._answered = asked

        def deliver(piece: Piece | AnyTalkError) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._take_piece, reply, asked, piece)

        return self._house.engine.ask(question, deliver)

    def _take_piece(self, reply: Reply, asked: _Asked, piece: Piece | AnyTalkError) -> None:
        if reply.is_over:  # cancelled while the piece was on its way
            return
        if isinstance(piece, AnyTalkError):
            reply.finish("failed", error=piece)
            return
        reply.push(piece)
        if reply.is_over and self._house.archive is not None:
            self._loop.run_in_executor(None, self._house.archive.save, asked.asked, reply.text, reply.sound)

    def _stop_reply(self, reason: str | None) -> None:
        """Cancel the answer that is on its way, if there is one."""
        if self._reply is None or self._reply.is_over or self._answering is None:
            return
        self._answering.cancel()
        self._reply.finish("cancelled", reason=reason)


def _object(event: Event, key: str, *, needed: bool = True) -> dict[str, Any]:
    value = event.get(key)
    if value is None and not needed:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError(f"{event['type']} needs {key}, an object", "missing_required_parameter", key)
    return value


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"{key} must be a string of base64", "missing_required_parameter", key)
    return value


def _item(item_id: str, role: str, content: Any) -> dict[str, Any]:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": role,
        "content": content,
    }
