"""The Realtime API, asked by the client that OpenAI ships."""

import itertools
import re
import time
from pathlib import Path

import numpy as np
import openai
import pytest
from support.serving import TOKEN, ask, b64, pcm_of, say, serving, take

from anytalk.model import Task
from anytalk.recipes.serve.sound import Incoming
from anytalk.recipes.talk import Text, pcm16

# The client that OpenAI ships connects in a way that its library has begun to warn of.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")

PIECE = 2400
"""Samples of a tenth of a second."""


@pytest.fixture
def connection(served):
    with served.openai.realtime.connect(model="tiny") as connection:
        yield connection


def until(connection, *kinds):
    events = []
    while not events or events[-1].type not in kinds:
        events.append(connection.recv())
    return events


def manual(connection):
    connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    return until(connection, "session.updated")[-1].session


def typed(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def said(pieces):
    pieces = [*pieces]
    return "".join(piece.text for piece in pieces), pcm16(np.concatenate([piece.pcm for piece in pieces])).tolist()


def heard(events):
    text = "".join(e.delta for e in events if e.type == "response.output_audio_transcript.delta")
    return text, pcm_of(e.delta for e in events if e.type == "response.output_audio.delta").tolist()


def test_a_typed_question_is_answered_as_by_talk(connection, talker):
    manual(connection)
    connection.conversation.item.create(item=typed("Who are you?"))
    connection.response.create()
    events = until(connection, "response.done")
    assert heard(events) == said(talker.talk(Text("Who are you?")))
    kinds = [kind for kind, _ in itertools.groupby(e.type for e in events) if not kind.endswith(".delta")]
    assert kinds == [
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    response = events[-1].response
    assert (response.status, response.status_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].content[0].transcript == heard(events)[0]


def test_a_committed_question_is_answered_as_by_talk(connection, talker, speech_24k):
    manual(connection)
    for first in range(0, len(speech_24k), PIECE):
        connection.input_audio_buffer.append(audio=b64(speech_24k[first : first + PIECE]))
    connection.input_audio_buffer.commit()
    connection.response.create()
    events = until(connection, "response.done")
    incoming = Incoming()
    at_16k = incoming.push(pcm16(speech_24k) / np.float32(32768), last=True)
    assert heard(events) == said(talker.talk((at_16k, 16_000)))


def test_the_snippet_of_the_documentation_runs(served, talker, capsys):
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()
    snippet, _ = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    exec(snippet.replace("127.0.0.1:8000", served.url.removeprefix("http://")), {})
    assert capsys.readouterr().out == said(talker.talk(Text("Who are you?")))[0]


def test_the_server_finds_the_turn_and_answers(connection, speech_24k):
    for first in range(0, len(speech_24k), PIECE):
        connection.input_audio_buffer.append(audio=b64(speech_24k[first : first + PIECE]))
    events = until(connection, "response.done")
    kinds = [e.type for e in events]
    order = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed"]
    assert [kinds.index(kind) for kind in [*order, "response.created"]] == sorted(
        kinds.index(kind) for kind in [*order, "response.created"]
    )
    started, stopped, committed = (events[kinds.index(kind)] for kind in order)
    assert started.item_id == stopped.item_id == committed.item_id
    assert 0 <= started.audio_start_ms < stopped.audio_end_ms <= len(speech_24k) / 24
    assert len(heard(events)[1]) > 0


def test_answers_in_text_alone(connection, talker):
    connection.conversation.item.create(item=typed("Who are you?"))
    connection.response.create(response={"output_modalities": ["text"], "max_output_tokens": 9})
    events = until(connection, "response.done")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "".join(piece.text for piece in talker.talk(Text("Who are you?"), Task.T1T2))
    assert not any("audio" in e.type for e in events)


def test_what_the_recogniser_understood_is_told_where_it_is_wanted(connection, speech_24k):
    audio = {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}
    connection.session.update(session={"type": "realtime", "audio": audio})
    connection.input_audio_buffer.append(audio=b64(speech_24k))
    connection.input_audio_buffer.commit()
    told = until(connection, "conversation.item.input_audio_transcription.completed")[-1]
    assert (told.transcript, told.content_index) == ("", 0)  # the fake recogniser understands nothing
    assert told.usage.seconds == pytest.approx(len(speech_24k) / 24_000, abs=0.01)


def test_speaking_over_an_answer_stops_it(long_talker, speech_24k):
    with serving(long_talker) as served, served.openai.realtime.connect(model="tiny") as connection:
        connection.conversation.item.create(item=typed("Speak on"))
        connection.response.create()
        until(connection, "response.output_audio.delta")
        for first in range(0, len(speech_24k), PIECE):
            connection.input_audio_buffer.append(audio=b64(speech_24k[first : first + PIECE]))
        events = until(connection, "response.done")
        assert events[-1].response.status == "cancelled"
        assert events[-1].response.status_details.reason == "turn_detected"
        second = until(connection, "response.created")[-1].response.id
        assert second != events[-1].response.id
        connection.response.cancel()
        done = until(connection, "response.done")[-1].response
        assert (done.id, done.status, done.status_details.reason) == (second, "cancelled", "client_cancelled")
        assert served.house.engine.queued == 0


def test_clients_of_the_beta_are_understood(served):
    with served.openai.beta.realtime.connect(model="tiny") as connection:
        assert connection.recv().session.modalities == ["audio", "text"]
        connection.session.update(session={"turn_detection": None, "modalities": ["text", "audio"], "voice": "alloy"})
        connection.conversation.item.create(item=typed("Who are you?"))
        connection.response.create()
        kinds = {event.type for event in until(connection, "response.done")}
    assert {"conversation.item.created", "response.audio.delta", "response.audio_transcript.delta"} <= kinds


def test_the_session_shows_what_holds(connection):
    detection = {"type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 100, "silence_duration_ms": 900}
    session = {
        "type": "realtime",
        "instructions": "be brief",
        "tools": [],
        "audio": {"input": {"turn_detection": detection}, "output": {"voice": "marin"}},
    }
    connection.session.update(session=session)
    shown = until(connection, "session.updated")[-1].session
    found = shown.audio.input.turn_detection
    assert (found.threshold, found.prefix_padding_ms, found.silence_duration_ms) == (0.7, 100, 900)
    assert (shown.instructions, shown.tools, shown.audio.output.voice) == (None, None, None)


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "session.audio.input.format"),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "session.audio.output.format"),
        ({"input_audio_format": "g711_ulaw"}, "session.input_audio_format"),
        ({"audio": {"input": {"turn_detection": {"type": "psychic"}}}}, "turn_detection"),
        ({"turn_detection": {"threshold": 7}}, "turn_detection.threshold"),
        ({"turn_detection": {"silence_duration_ms": "long"}}, "turn_detection.silence_duration_ms"),
        ({"output_modalities": ["smell"]}, "output_modalities"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"audio": "loud"}, "session.audio"),
    ],
)
def test_a_setting_that_would_be_done_wrong_is_an_error(connection, session, param):
    connection.session.update(session=session, event_id="mine")
    error = until(connection, "error")[-1].error
    assert (error.type, error.param, error.event_id) == ("invalid_request_error", param, "mine")


def test_what_is_out_of_order_is_an_error(connection):
    manual(connection)
    codes = []
    connection.response.cancel()
    connection.input_audio_buffer.commit()
    connection.conversation.item.create(item={"type": "function_call_output", "call_id": "1", "output": "x"})
    for _ in range(3):
        codes.append(until(connection, "error")[-1].error.code)
    assert codes == [
        "response_cancel_not_active",
        "input_audio_buffer_commit_empty",
        "invalid_value",
    ]


def test_what_cannot_be_answered_is_a_failed_response_and_no_error_event(connection, talker):
    manual(connection)
    connection.response.create()
    events = until(connection, "response.done")
    connection.input_audio_buffer.append(audio=b64(np.zeros(24_000, np.float32)))
    connection.input_audio_buffer.commit()
    connection.response.create()
    events += until(connection, "response.done")
    failed = [event.response for event in events if event.type == "response.done"]
    assert [response.status for response in failed] == ["failed", "failed"]
    assert [response.status_details.error.code for response in failed] == ["nothing_to_answer", "silent_audio"]
    assert not any(event.type == "error" for event in events)
    connection.conversation.item.create(item=typed("Who are you?"))
    connection.response.create()
    assert heard(until(connection, "response.done")) == said(talker.talk(Text("Who are you?")))


def test_each_item_says_what_it_comes_behind(connection):
    manual(connection)
    events = []
    for number in (1, 2):
        connection.conversation.item.create(item=typed("Who are you?") | {"id": f"asked-{number}"})
        connection.response.create()
        events += until(connection, "response.done")
    system = {"type": "message", "role": "system", "content": [], "id": "system"}
    connection.conversation.item.create(item=system, previous_item_id="root")
    connection.conversation.item.create(item=typed("And now?") | {"id": "asked-3"})
    connection.conversation.item.delete(item_id="system")
    events += until(connection, "conversation.item.deleted")
    added = [(event.item.id, event.previous_item_id) for event in events if event.type == "conversation.item.added"]
    answers = [event.response.output[0].id for event in events if event.type == "response.done"]
    assert added == [
        ("asked-1", None),
        (answers[0], "asked-1"),
        ("asked-2", answers[0]),
        (answers[1], "asked-2"),
        ("system", None),
        ("asked-3", answers[1]),
    ]
    assert events[-1].item_id == "system"


def test_a_question_that_was_deleted_is_not_answered(connection):
    manual(connection)
    connection.conversation.item.create(item=typed("Who are you?") | {"id": "mine"})
    connection.conversation.item.delete(item_id="mine")
    connection.response.create()
    assert until(connection, "response.done")[-1].response.status_details.error.code == "nothing_to_answer"


def test_two_responses_at_once_are_an_error(long_talker):
    with serving(long_talker) as served, served.connect() as socket:
        ask(socket)
        say(socket, "response.create")
        assert take(socket, {"error"})[-1]["error"]["code"] == "conversation_already_has_active_response"


def test_turns_are_remembered_where_the_model_learned_it(talker):
    with serving(talker, context_turns=2) as served, served.openai.realtime.connect(model="tiny") as connection:
        answers = []
        for _ in range(2):
            connection.conversation.item.create(item=typed("Who are you?"))
            connection.response.create()
            answers.append(heard(until(connection, "response.done")))
            connection.conversation.item.truncate(item_id="x", content_index=0, audio_end_ms=100)
    alone = said(talker.talk(Text("Who are you?")))
    assert answers[0] == alone
    assert answers[1] != alone


def test_a_token_is_asked_for_in_both_ways(talker):
    with serving(talker, token=TOKEN) as served:
        assert [each.id for each in served.openai.models.list()] == ["tiny"]
        with served.openai.realtime.connect(model="tiny") as connection:
            assert connection.recv().type == "session.created"
        protocols = ["realtime", f"openai-insecure-api-key.{TOKEN}"]
        with served.connect(subprotocols=protocols) as socket:
            assert socket.subprotocol == "realtime"
        wrong = served.openai.with_options(api_key="guess")
        with pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        for connect in (served.connect, lambda: served.connect(subprotocols=["openai-insecure-api-key.guess"])):
            with pytest.raises(Exception, match="401"), connect():
                pass


def test_what_is_said_is_saved_only_where_the_user_wants_it(talker, tmp_path):
    with serving(talker, save=tmp_path / "kept") as served, served.connect() as socket:
        ask(socket)
        text = take(socket, {"response.done"})[-1]["response"]["output"][0]["content"][0]["transcript"]
        deadline_s = time.monotonic() + 10
        while not (found := [*(tmp_path / "kept").glob("2*/answer.wav")]) and time.monotonic() < deadline_s:
            time.sleep(0.01)
    assert (found[0].parent / "question.txt").read_text() == "Who are you?"
    assert (found[0].parent / "answer.txt").read_text() == text
