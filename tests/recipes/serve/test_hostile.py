"""Clients that do everything wrong: a clear error or a closed door, bounded memory, and the others do not notice."""

import contextlib
import json
import os
import socket as sockets
import struct
import threading
import time

import numpy as np
import pytest
from support.serving import ask, b64, pcm_of, say, serving, take
from websockets.exceptions import ConnectionClosed

from anytalk.recipes.talk import Text, pcm16

pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")

SECOND = np.zeros(24_000, np.float32)


@pytest.fixture
def undisturbed(served, talker):
    """Somebody who asks before and after, and gets the same answer as alone."""
    expected = pcm16(np.concatenate([piece.pcm for piece in talker.talk(Text("Who are you?"))])).tolist()

    def answered(socket):
        ask(socket)
        deltas = [e["delta"] for e in take(socket, {"response.done"}) if e["type"] == "response.output_audio.delta"]
        return pcm_of(deltas).tolist() == expected

    with served.connect() as socket:
        assert answered(socket)
        yield
        assert answered(socket)
    wait_for(lambda: served.guard.sessions.taken == 0 and served.house.engine.queued == 0)


def wait_for(true, seconds=20):
    deadline_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def error_of(socket):
    """The code of the error that comes next: an event of its own, or the end of an answer."""
    told = take(socket, {"error", "response.done"})[-1]
    return (told.get("error") or told["response"]["status_details"]["error"])["code"]


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("[]", "invalid_event"),
        ("{}", "invalid_event"),
        ('{"type": 7}', "invalid_event"),
        ('{"type": "session.destroy"}', "unknown_event"),
        ('{"type": "session.update"}', "missing_required_parameter"),
        ('{"type": "session.update", "session": []}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": "Ünicode"}', "not_base64"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "odd_bytes"),
        ('{"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}', "invalid_value"),
        ('{"type": "conversation.item.create", "item": {"role": "user", "content": 5}}', "invalid_value"),
        ('{"type": "conversation.item.truncate", "audio_end_ms": "soon"}', "invalid_value"),
        ('{"type": "response.create", "response": {"input": [5]}}', "nothing_to_answer"),
        (b"\x00\x01", "invalid_event"),
    ],
)
def test_nonsense_is_an_error_and_the_session_goes_on(served, message, code):
    with served.connect() as socket:
        socket.send(message)
        assert error_of(socket) == code
        ask(socket)
        assert take(socket, {"response.done"})


@pytest.mark.usefixtures("undisturbed")
def test_a_message_that_is_too_large_ends_the_session(served):
    with served.connect() as socket:
        with contextlib.suppress(ConnectionClosed):
            socket.send(json.dumps({"type": "x" * (5 << 20)}))
        with pytest.raises(ConnectionClosed) as closed:
            take(socket, {"never"})
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


@pytest.mark.usefixtures("undisturbed")
def test_endless_audio_is_an_error_where_the_client_commits(served):
    with served.connect() as socket:
        say(socket, "session.update", session={"turn_detection": None})
        for _ in range(33):
            say(socket, "input_audio_buffer.append", audio=b64(SECOND))
        assert error_of(socket) == "input_audio_buffer_full"
        say(socket, "input_audio_buffer.clear")
        say(socket, "input_audio_buffer.append", audio=b64(SECOND))
        say(socket, "input_audio_buffer.commit")
        assert take(socket, {"input_audio_buffer.committed"})
        say(socket, "response.create")
        assert error_of(socket) == "silent_audio"


@pytest.mark.usefixtures("undisturbed")
def test_endless_silence_is_no_turn_and_is_not_kept(served):
    with served.connect() as socket:
        for _ in range(40):
            say(socket, "input_audio_buffer.append", audio=b64(SECOND))
        say(socket, "input_audio_buffer.commit")
        kinds = [e["type"] for e in take(socket, {"input_audio_buffer.committed", "error"})]
    assert "input_audio_buffer.speech_started" not in kinds


@pytest.mark.usefixtures("undisturbed")
def test_turn_after_turn_that_nobody_asks_for_is_not_listened_to(served):
    listener = served.house.engine.listener
    with served.connect() as socket:
        say(socket, "session.update", session={"turn_detection": None})
        for _ in range(200):
            say(socket, "input_audio_buffer.append", audio=b64(SECOND + 0.1))
            say(socket, "input_audio_buffer.commit")
        for _ in range(200):
            take(socket, {"conversation.item.done"})
            assert len(listener._waiting) <= 1
    wait_for(lambda: listener.is_idle)


@pytest.mark.usefixtures("undisturbed")
def test_fifty_at_once_are_served_or_told_that_it_is_full(served):
    sockets_open, codes = [], []

    def connect():
        socket = served.connect()
        sockets_open.append(socket)
        event = json.loads(socket.recv(60))
        codes.append(event["error"]["code"] if event["type"] == "error" else event["type"])

    threads = [threading.Thread(target=connect) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for socket in sockets_open:
        socket.close()
    assert sorted(codes) == ["server_full"] * 43 + ["session.created"] * 7  # one is undisturbed


def bare(served, receive_bytes=None):
    """A connection that is upgraded by hand."""
    host, port = served.url.removeprefix("http://").split(":")
    raw = sockets.socket()
    if receive_bytes:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_bytes)
    raw.connect((host, int(port)))
    raw.sendall(
        f"GET /v1/realtime HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in raw.recv(64)
    return raw


def frame(event):
    content = json.dumps(event).encode()
    return b"\x81" + struct.pack(">BH", 0xFE, len(content)) + bytes(4) + content


@pytest.mark.usefixtures("undisturbed")
def test_a_half_closed_connection_is_over(served):
    before = served.guard.sessions.taken
    with bare(served) as raw:
        wait_for(lambda: served.guard.sessions.taken == before + 1)
        raw.shutdown(sockets.SHUT_WR)
        wait_for(lambda: served.guard.sessions.taken == before)


@pytest.mark.usefixtures("undisturbed")
def test_a_handshake_that_never_ends_holds_no_session(served):
    host, port = served.url.removeprefix("http://").split(":")
    before = served.guard.sessions.taken
    with sockets.create_connection((host, int(port))) as raw:
        raw.sendall(b"GET /v1/realtime HTTP/1.1\r\nHost: ")
        time.sleep(0.1)
        assert served.guard.sessions.taken == before


@pytest.fixture(scope="module")
def patient(long_talker):
    """A server whose answers are long, and which does not wait long for slow readers."""
    with serving(long_talker, stalled_s=0.5, sessions=3, send_buffer_bytes=8192) as running:
        yield running


def test_a_client_that_dies_while_it_is_answered_frees_its_place(patient):
    socket = patient.connect()
    ask(socket)
    take(socket, {"response.output_audio.delta"})
    socket.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(os.dup(socket.socket.fileno()))
    socket.socket.close()
    wait_for(lambda: patient.guard.sessions.taken == 0 and patient.house.engine.running == 0)


def post(served, path, body, receive_bytes=None):
    """A request that is sent by hand, and whose answer is not read."""
    host, port = served.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    raw = sockets.socket()
    if receive_bytes:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_bytes)
    raw.connect((host, int(port)))
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(content)}\r\n\r\n"
    raw.sendall(head.encode() + content)
    return raw


def test_who_does_not_read_a_streamed_answer_is_dropped(patient):
    body = {"input": "Speak on", "response_format": "pcm"}
    with post(patient, "/v1/audio/speech", body, receive_bytes=4096) as raw:
        wait_for(lambda: patient.house.engine.running == 1)
        wait_for(lambda: patient.guard.posts.taken == 0 and patient.house.engine.running == 0)
        raw.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1 << 20):
                pass


def test_who_sends_no_request_is_hung_up_on(talker):
    with serving(talker, head_s=0.3) as served, served.connect() as socket:
        host, port = served.url.removeprefix("http://").split(":")
        with sockets.create_connection((host, int(port)), 10) as idle, contextlib.suppress(ConnectionResetError):
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: ")
            assert idle.recv(100) == b""
        ask(socket)
        assert take(socket, {"response.done"})  # a WebSocket stays


def test_a_slow_reader_is_dropped(patient):
    with bare(patient, receive_bytes=4096) as raw:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Speak on"}]}
        raw.sendall(frame({"type": "conversation.item.create", "item": item}) + frame({"type": "response.create"}))
        wait_for(lambda: patient.guard.sessions.taken == 1)
        wait_for(lambda: patient.guard.sessions.taken == 0)
        wait_for(lambda: patient.house.engine.running == 0)
        raw.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1 << 20):  # the connection ends, too
                pass


def test_a_session_ends_when_its_time_is_over(talker):
    with serving(talker, session_s=0.4) as served, served.connect() as socket:
        assert error_of(socket) == "session_expired"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(20)
        assert closed.value.rcvd.code == 1008
    with serving(talker, idle_s=0.3) as served, served.connect() as socket:
        assert error_of(socket) == "session_idle"


def test_nothing_is_written_to_disk(talker, tmp_path, monkeypatch, speech_24k):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(talker) as served, served.connect() as socket:
        say(socket, "input_audio_buffer.append", audio=b64(speech_24k))
        take(socket, {"response.done"})
    assert [*tmp_path.iterdir()] == []
