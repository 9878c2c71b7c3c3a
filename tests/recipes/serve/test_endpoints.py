"""The endpoints that answer one request, asked by the client that OpenAI ships."""

import base64
import io
import socket as sockets
import time

import httpx2
import numpy as np
import openai
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families
from support.serving import pcm_of, serving

from anytalk.model import Task
from anytalk.recipes.serve.sound import file_bytes
from anytalk.recipes.talk import Text, collect, pcm16
from anytalk.synth.audio import resample


def expected(talker, question, task):
    return collect(talker.talk(question, task), 24_000)


@pytest.fixture(scope="module")
def question_wav(speech_24k):
    return file_bytes(speech_24k, "wav")


@pytest.fixture(scope="module")
def at_16k(speech_24k):
    return resample(pcm16(speech_24k) / np.float32(32768), 24_000, 16_000), 16_000


def spoken(question_wav, kind="wav"):
    data = base64.b64encode(question_wav).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": kind}}
    return [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [part]}]


def test_a_chat_with_audio_in_and_out(served, talker, question_wav, at_16k):
    done = served.openai.chat.completions.create(
        model="tiny",
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
        messages=spoken(question_wav),
    )
    message, answer = done.choices[0].message, expected(talker, at_16k, Task.A1A2)
    assert message.audio.transcript == answer.text
    sound, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(message.audio.data)), dtype="int16")
    assert rate_hz == 24_000
    np.testing.assert_array_equal(sound, pcm16(answer.pcm))
    assert done.choices[0].finish_reason == "length"


def test_a_chat_in_writing(served, talker):
    done = served.openai.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Who are you?"}], max_tokens=9
    )
    assert done.choices[0].message.content == expected(talker, Text("Who are you?"), Task.T1T2).text


def test_a_chat_is_streamed(served, talker):
    chunks = served.openai.chat.completions.create(
        model="tiny",
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "pcm16"},
        messages=[{"role": "user", "content": "Who are you?"}],
        stream=True,
    )
    parts = [chunk.choices[0] for chunk in chunks]
    audio = [part.delta.audio for part in parts if getattr(part.delta, "audio", None)]
    answer = expected(talker, Text("Who are you?"), Task.T1A2)
    assert "".join(each.transcript or "" for each in audio) == answer.text
    np.testing.assert_array_equal(pcm_of(each.data for each in audio if each.data), pcm16(answer.pcm))
    assert [part.finish_reason for part in parts if part.finish_reason] == ["length"]


@pytest.mark.parametrize("kind", ["wav", "pcm", "mp3", "opus", "flac"])
def test_a_text_is_read_aloud_in_every_format(served, talker, kind):
    speech = served.openai.audio.speech.create(model="tiny", voice="any", input="How far is it?", response_format=kind)
    pcm = expected(talker, Text("How far is it?"), Task.T1A1).pcm
    if kind in ("wav", "pcm"):  # streamed
        content = speech.content[44:] if kind == "wav" else speech.content
        np.testing.assert_array_equal(np.frombuffer(content, "<i2"), pcm16(pcm))
    else:
        sound, rate_hz = soundfile.read(io.BytesIO(speech.content))
        assert abs(len(sound) / rate_hz - len(pcm) / 24_000) < 0.15
    if kind == "wav":
        assert soundfile.info(io.BytesIO(speech.content)).samplerate == 24_000


def test_a_recording_is_transcribed(served, talker, question_wav, at_16k):
    file = ("question.wav", question_wav)
    found = served.openai.audio.transcriptions.create(model="tiny", file=file)
    plain = served.openai.audio.transcriptions.create(model="tiny", file=file, response_format="text")
    assert found.text == plain == expected(talker, at_16k, Task.A1T1).text


def wrong(served, path, **request):
    answer = httpx2.post(f"{served.url}{path}", **request)
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/chat/completions", b"{", "Invalid JSON"),
        ("/v1/chat/completions", b'{"messages": []}', "messages"),
        ("/v1/chat/completions", b'{"messages": [{"role": "system", "content": "Hi"}]}', "one of the user"),
        ("/v1/audio/speech", b'{"input": "Hi", "response_format": "midi"}', "response_format"),
        ("/v1/audio/speech", b'{"input": ""}', "input"),
        ("/v1/audio/speech", b'{"input": "   "}', "no words"),
        ("/v1/audio/transcriptions", b"", "file"),
    ],
)
def test_what_is_wrong_is_told(served, path, body, message):
    status, error = wrong(served, path, content=body)
    assert status == 400
    assert message in error["message"]


def test_a_file_that_is_no_recording_is_told(served, question_wav):
    status, error = wrong(served, "/v1/audio/transcriptions", files={"file": ("x.wav", b"no sound at all")})
    assert (status, error["code"]) == (400, "not_audio")
    with pytest.raises(openai.BadRequestError, match="base64"):
        served.openai.chat.completions.create(
            model="tiny",
            messages=[
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}]}
            ],
        )
    too_long = file_bytes(np.full(31 * 24_000, 0.1, np.float32), "wav")
    status, error = wrong(served, "/v1/audio/transcriptions", files={"file": ("x.wav", too_long)})
    assert (status, error["code"]) == (400, "too_long")


def test_a_full_server_says_so(long_talker):
    with serving(long_talker, sessions=1, waiting=0) as served:
        body = {"input": "Speak on", "response_format": "pcm"}
        with httpx2.stream("POST", f"{served.url}/v1/audio/speech", json=body) as first:
            assert first.status_code == 200
            with pytest.raises(openai.InternalServerError) as refused:
                served.openai.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "Hi"}])
        assert refused.value.status_code == 503
        assert refused.value.response.headers["retry-after"]
        assert refused.value.body["code"] == "server_full"


def test_health_and_metrics_count_what_was_done(talker):
    with serving(talker) as served:
        served.openai.audio.speech.create(model="tiny", voice="any", input="How far is it?", response_format="pcm")
        health = httpx2.get(f"{served.url}/health").json()
        metrics = httpx2.get(f"{served.url}/metrics").text
    assert health == {"status": "ok", "model": "tiny", "sessions": 0, "most_sessions": 8, "running": 0, "waiting": 0}
    found = {sample.name: sample for each in text_string_to_metric_families(metrics) for sample in each.samples}
    assert found["anytalk_answers_total"].labels == {"task": "T1A1", "end": "limit"}
    assert found["anytalk_speech_seconds_total"].value == pytest.approx(9 * 2048 / 24_000)
    assert found["anytalk_first_sound_seconds_count"].value == 1


def test_pages_of_others_may_not_ask(talker):
    with serving(talker, origins=["https://friend.example"]) as served:
        host = served.url.removeprefix("http://")

        def status(**headers):
            return httpx2.get(f"{served.url}/v1/models", headers=headers).status_code

        assert status() == status(origin=served.url) == status(origin="https://friend.example") == 200
        assert status(origin="https://evil.example") == status(origin="null") == 403
        # A name of somebody's own that points at this machine.
        assert status(host="evil.example", origin="http://evil.example") == 403
        assert status(host=host.replace("127.0.0.1", "localhost")) == 200
        with pytest.raises(Exception, match="403"), served.connect(origin="https://evil.example"):
            pass


def test_a_body_may_not_be_endless(talker):
    with serving(talker, body_bytes=10_000) as served:
        assert httpx2.post(f"{served.url}/v1/audio/speech", content=b"x" * 20_000).status_code == 413
        chunks = (b"x" * 1000 for _ in range(20))
        assert httpx2.post(f"{served.url}/v1/audio/speech", content=chunks).status_code == 413


def test_a_body_may_not_take_for_ever_and_not_too_many_come_at_once(talker):
    with serving(talker, body_s=1.0, sessions=1, waiting=1) as served:
        host, port = served.url.removeprefix("http://").split(":")
        head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100\r\n\r\nx".encode()
        with (
            sockets.create_connection((host, int(port)), 10) as first,
            sockets.create_connection((host, int(port)), 10) as second,
        ):
            for slow in (first, second):
                slow.sendall(head)
            while served.guard.posts.taken < 2:
                time.sleep(0.01)
            answer = httpx2.post(f"{served.url}/v1/audio/speech", json={"input": "Who are you?"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_full")
            assert httpx2.get(f"{served.url}/health").status_code == 200
            assert first.recv(1000).startswith(b"HTTP/1.1 408")
            assert second.recv(1000).startswith(b"HTTP/1.1 408")
        assert httpx2.post(f"{served.url}/v1/audio/speech", json={"input": "Who are you?"}).status_code == 200


def test_who_hangs_up_before_the_whole_answer_frees_its_place(long_talker):
    with serving(long_talker) as served:
        body = {"messages": [{"role": "user", "content": "Speak on"}], "modalities": ["text", "audio"]}
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{served.url}/v1/chat/completions", json=body, timeout=0.2)
        deadline_s = time.monotonic() + 20
        while served.house.engine.running:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert 'anytalk_answers_total{end="cancelled",task="T1A2"} 1.0' in httpx2.get(f"{served.url}/metrics").text


def test_the_page_is_there(served):
    answer = httpx2.get(f"{served.url}/")
    assert (answer.status_code, "text/html" in answer.headers["content-type"]) == (200, True)
