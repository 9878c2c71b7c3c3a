"""The chat client, over real sockets: a server that misbehaves, retries, formats, keys."""

import asyncio
import logging
import socket

import pytest
from support.asking import ask, endpoint, generated, good_answer, timeout_s_for
from support.misbehaving import FAULTS, MACHINERY, Fault, serve

from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.completion import Answer
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.job import SCHEMA, Deferred, Generated, Rejected

BUSY = Fault(429, "", (("Retry-After", "0.5"),))


@pytest.mark.slow
def test_every_row_ends_once_and_the_next_run_finishes_what_was_deferred(tmp_path):
    names = list(FAULTS)

    def fault(number, body):
        place = body["seed"] % (len(names) + 4)
        return FAULTS[names[place]] if place < len(names) else None

    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        with serve(good_answer, fault) as server:
            firsts, _ = generated(server, 40, cache, attempts=2, timeout_s=1.0, revision="ours")
        with serve(good_answer) as server:
            seconds, client = generated(server, 40, cache, revision="ours")
            asked_again = len(server.bodies)
            thirds, _ = generated(server, 40, cache, revision="ours")
    assert {type(outcome) for outcome in firsts} == {Generated, Rejected, Deferred}
    for outcomes in (firsts, seconds, thirds):
        assert len({outcome.conversation for outcome in outcomes}) == len(outcomes) == 40
    assert not any(isinstance(outcome, Deferred) for outcome in seconds)
    for first, second in zip(firsts, seconds, strict=True):
        assert first.conversation == second.conversation
        refused = isinstance(first, Rejected) and "status 400" in first.detail  # No answer, so none is kept.
        assert isinstance(first, Deferred) or refused or first == second
    lost = sum(isinstance(o, Deferred) or "status 400" in getattr(o, "detail", "") for o in firsts)
    assert asked_again == client.usage.answers == lost
    assert thirds == seconds
    assert len(server.bodies) == asked_again


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_outcome(name):
    with serve(good_answer, lambda number, body: FAULTS[name]) as server:
        [outcome], client = generated(server, 1, attempts=2, timeout_s=timeout_s_for(name))
    if name in MACHINERY:
        assert isinstance(outcome, Deferred)
        # A server that breaks is asked in each of the three formats.
        assert client.usage.retries == (3 if name == "broken" else 1)
        assert client.usage.answers == 0
    else:
        assert outcome.reason == ("refused_request" if name in ("refused", "filtered") else "malformed_answer")


@pytest.mark.parametrize("name", MACHINERY)
def test_a_passing_fault_of_the_machinery_costs_one_more_request(name):
    with serve(good_answer, lambda number, body: FAULTS[name] if number == 0 else None) as server:
        [outcome], client = generated(server, 1, timeout_s=timeout_s_for(name))
    assert isinstance(outcome, Generated)
    assert (len(server.bodies), client.usage.retries, client.usage.answers) == (2, 1, 1)


@pytest.mark.parametrize(
    ("refused", "left"), [(("json_schema",), "json_object"), (("json_schema", "json_object"), None)]
)
def test_a_server_without_schemas_is_asked_in_a_plainer_way(refused, left):
    def fault(number, body):
        return Fault(400, "unknown response_format") if body.get("response_format", {}).get("type") in refused else None

    with serve(good_answer, fault) as server:
        outcomes, client = generated(server, 30)
    assert all(isinstance(outcome, Generated) for outcome in outcomes)
    assert server.bodies[-1].get("response_format", {}).get("type") == left
    assert len(server.bodies) <= 30 + len(refused) * 8
    assert client.usage.answers == 30


def test_a_client_answers_with_what_the_server_said():
    with serve(lambda body: "Hello.") as server:
        assert ask(server) == Answer("Hello.", "stop", "tiny-1", 100, 20)
    with (
        serve(good_answer, lambda number, body: FAULTS["broken"]) as server,
        pytest.raises(EngineError, match="sent 3"),
    ):
        ask(server, attempts=3)


# -- Set-up and keys


def test_an_unreachable_endpoint_is_a_bad_set_up():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async def probe():
        await ChatClient(endpoint(url)).probe(SCHEMA)

    with pytest.raises(SetupError, match=r"no answer from http://127.*ConnectError.*check base_url"):
        asyncio.run(probe())


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [(401, "wrong key", "status 401: wrong key"), (404, "no model", "status 404"), (400, "bad top_p", "bad top_p")],
)
def test_the_probe_tells_what_the_server_minds(status, text, message):
    async def probe(url):
        await ChatClient(endpoint(url)).probe(SCHEMA)

    with serve(good_answer, lambda number, body: Fault(status, text)) as server:
        with pytest.raises(SetupError, match=message):
            asyncio.run(probe(server.url))
        assert len(server.bodies) <= 3


def test_a_key_is_sent_and_shows_up_nowhere_else(tmp_path, monkeypatch, caplog):
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("TINY_API_KEY", key)
    caplog.set_level(logging.DEBUG)
    echo = Fault(401, f"Incorrect API key provided: {key}")
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        with serve(good_answer) as server:
            outcomes, client = generated(server, 3, cache, api_key_env="TINY_API_KEY")
        assert server.keys == [f"Bearer {key}"] * 3
        with serve(good_answer, lambda number, body: echo) as server:
            failed, _ = generated(server, 4, cache, api_key_env="TINY_API_KEY")
    assert "[key]" in failed[-1].detail
    shown = f"{outcomes} {failed} {client.endpoint} {client.endpoint!r} {caplog.text}"
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key not in shown
    assert key.encode() not in kept


def test_a_missing_key_is_a_bad_set_up(monkeypatch):
    monkeypatch.delenv("TINY_API_KEY", raising=False)
    with pytest.raises(SetupError, match="TINY_API_KEY is not set"):
        ChatClient(endpoint("http://localhost:1/v1", api_key_env="TINY_API_KEY"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "http://me:secret@host/v1"},
        {"base_url": "https://host/v1?key=secret"},
        {"api_key_env": "sk-secret"},
        {"extra": {"seed": 1}},
        {"attempts": 0},
    ],
)
def test_a_wrong_endpoint_is_refused_without_repeating_a_key(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))) as error:
        ChatEndpoint(**{"base_url": "http://host/v1", "model": "tiny"} | wrong)
    assert "secret" not in str(error.value)
