"""The HTTP client: its concurrency limit, retries, circuit breaker and certificates, over real sockets."""

import asyncio
import itertools
import ssl

import pytest
import trustme
from support.asking import generated, good_answer
from support.misbehaving import FAULTS, Fault, serve, serve_path
from support.misbehaving_speech import PATH, good

from anytalk.synth.errors import SetupError
from anytalk.synth.http.concurrency import ConcurrencyLimit
from anytalk.synth.http.server import certificates
from anytalk.synth.llm.job import Deferred, Generated
from anytalk.synth.voice import SpeakRequest, SpeechServer, load_voice

BUSY = Fault(429, "", (("Retry-After", "0.5"),))


def test_the_pace_doubles_until_it_is_cut_and_then_grows_slowly():
    async def run():
        limit, clock = ConcurrencyLimit(32), asyncio.get_running_loop().time
        limits = [limit.limit]
        for _ in range(12):
            limit.increase()
        limits.append(limit.limit)
        sent = clock()
        limit.decrease(sent, pause_s=0.05)
        limit.decrease(sent, pause_s=0.0)  # Sent before the decrease, so it says nothing new.
        limits.append(limit.limit)
        async with limit.slot() as began:
            assert began >= sent + 0.05
        for _ in range(8):
            limit.increase()
        limits.append(limit.limit)
        for _ in range(10):
            limit.decrease(clock(), pause_s=0.0)
            await asyncio.sleep(0.001)
        return [*limits, limit.limit]

    assert asyncio.run(run()) == [4, 16, 8, pytest.approx(9, abs=0.1), 1]


def test_retry_after_holds_back_every_request():
    with serve(good_answer, lambda number, body: BUSY if number == 20 else None) as server:
        outcomes, client = generated(server, 60)
    assert all(isinstance(outcome, Generated) for outcome in outcomes)
    assert client.usage.retries == 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(server.times)]
    assert max(pauses[20:29]) > 0.4  # Those under way when the first was refused still came.
    assert server.most_at_once <= 8


def test_a_wait_beyond_bounds_defers_the_rest_at_once():
    busy = Fault(429, "come back tomorrow", (("Retry-After", "86400"),))
    with serve(good_answer, lambda number, body: busy) as server:
        outcomes, _ = generated(server, 50)
    assert all(isinstance(outcome, Deferred) for outcome in outcomes)
    assert len(server.bodies) <= 8
    assert "asks to wait 86400 s" in outcomes[-1].detail


def test_an_endpoint_that_is_down_is_left_alone_after_some_requests():
    with serve(good_answer, lambda number, body: FAULTS["dropped"]) as server:
        outcomes, _ = generated(server, 100, attempts=2)
    assert all(isinstance(outcome, Deferred) for outcome in outcomes)
    assert len(server.bodies) < 40
    assert "it is left alone for 30 s" in outcomes[-1].detail


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "HttpS"])
def test_a_server_that_no_authority_vouches_for_never_sees_the_key(scheme, monkeypatch):
    monkeypatch.setenv("TTS_KEY", "sk-very-secret")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with serve_path(PATH, good, tls=tls) as server:
        url = server.url.replace("https", scheme)
        with pytest.raises(SetupError, match="certificate verify failed"):
            load_voice("server:ours/anna", {"ours": SpeechServer(url, "tts-1", api_key_env="TTS_KEY")})
    assert server.keys == []


def test_a_server_that_an_authority_vouches_for_is_asked(monkeypatch, tmp_path):
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    certificates.cache_clear()
    try:
        with serve_path(PATH, good, tls=tls) as server:
            voice = load_voice(
                "server:ours/anna", {"ours": SpeechServer(server.url.replace("https", "HTTPS"), "tts-1")}
            )
            [said] = voice.speak([SpeakRequest("Good day.", 1)])
    finally:
        certificates.cache_clear()
    assert len(said) > 0
