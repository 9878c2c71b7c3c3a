"""Servers as the whole process sees them: one pool and pace each, spread, fail over, a breaker that closes again."""

import asyncio
import itertools
import threading
import time

import pytest
from support.asking import ask, endpoint, generated, good_answer
from support.misbehaving import FAULTS, Fault, completion, serve, serve_path
from support.misbehaving_speech import PATH, audio, good

from anytalk.synth.errors import EngineError, SampleError
from anytalk.synth.http.circuit_breaker import CircuitBreaker
from anytalk.synth.http.server import pool_of
from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.job import Deferred, Generated
from anytalk.synth.voice import SpeakRequest, SpeechServer, load_voice


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def tried(breaker, fails):
    """Whether a request went through."""
    try:
        with breaker.watch():
            if fails:
                raise EngineError("no connection")
    except EngineError as error:
        return str(error) == "no connection"
    return True


def test_a_breaker_lets_one_request_through_after_a_while_and_closes_when_it_succeeds():
    clock = Clock()
    breaker = CircuitBreaker(3, cooldown_s=30.0, clock=clock)
    assert [tried(breaker, fails=True) for _ in range(5)] == [True] * 3 + [False] * 2
    clock.now_s = 31.0
    assert [tried(breaker, fails=True) for _ in range(3)] == [True, False, False]
    clock.now_s = 31.0 + 59.0  # The second pause is twice as long.
    assert not tried(breaker, fails=False)
    clock.now_s = 31.0 + 61.0
    with breaker.watch():
        assert not tried(breaker, fails=False)  # One at a time.
    assert breaker.down is None
    assert [tried(breaker, fails=True) for _ in range(3)] == [True] * 3


def test_a_trial_that_is_cancelled_or_refused_leaves_the_way_to_the_next():
    clock = Clock()
    breaker = CircuitBreaker(1, cooldown_s=1.0, clock=clock)
    tried(breaker, fails=True)
    clock.now_s = 2.0
    with pytest.raises(KeyboardInterrupt), breaker.watch():
        raise KeyboardInterrupt
    assert breaker.down is not None
    with pytest.raises(SampleError), breaker.watch():  # The server answered, if only to refuse.
        raise SampleError("refused_request", "no")
    assert breaker.down is None


def test_an_endpoint_that_comes_back_is_asked_again_in_the_same_run():
    with serve(good_answer, lambda number, body: FAULTS["dropped"]) as server:
        breaker = pool_of(endpoint(server.url), None).breaker
        lost, _ = generated(server, 20, attempts=1)
        assert breaker.down is not None
        server.fault = lambda number, body: None
        still_lost, _ = generated(server, 3, attempts=1)
        breaker._try_at = time.monotonic()
        found, _ = generated(server, 3, attempts=1)
    assert all(isinstance(outcome, Deferred) for outcome in [*lost, *still_lost])
    assert any(isinstance(outcome, Generated) for outcome in found)
    assert breaker.down is None


def test_requests_are_spread_over_servers_and_a_dead_one_costs_nothing():
    slow = lambda number, body: Fault(text=completion(good_answer(body)), stall_s=0.02)  # noqa: E731
    with serve(good_answer, slow) as one, serve(good_answer, slow) as two:
        outcomes, client = generated(one, 40, base_url=(one.url, two.url), max_concurrency=4)
        assert all(isinstance(outcome, Generated) for outcome in outcomes)
        assert min(len(one.bodies), len(two.bodies)) >= 10
        assert (one.most_at_once, two.most_at_once) <= (4, 4)
        one.fault = lambda number, body: FAULTS["dropped"]
        seen = len(one.bodies)
        outcomes, client = generated(two, 40, base_url=(one.url, two.url), max_concurrency=4, seed=2, backoff_s=5.0)
        assert all(isinstance(outcome, Generated) for outcome in outcomes)
        assert client.usage.retries == len(one.bodies) - seen <= 8


def test_a_server_that_asks_for_a_long_wait_leaves_its_requests_to_the_other():
    busy = Fault(429, "come back tomorrow", (("Retry-After", "86400"),))
    with serve(good_answer, lambda number, body: busy) as one, serve(good_answer) as two:
        outcomes, _ = generated(one, 20, base_url=(one.url, two.url))
    assert all(isinstance(outcome, Generated) for outcome in outcomes)
    assert len(one.bodies) <= 4


def test_a_slow_row_holds_up_no_others_and_the_order_stays():
    slow = threading.Event()

    def fault(number, body):
        if number == 0:
            slow.wait(20)
        elif number == 30:
            slow.set()

    with serve(good_answer, fault) as server:
        outcomes, _ = generated(server, 60, max_concurrency=2)
        again, _ = generated(server, 60, max_concurrency=2)
    assert slow.is_set()
    assert [outcome.conversation for outcome in outcomes] == [outcome.conversation for outcome in again]


def test_all_voices_of_a_server_share_its_connections_and_its_pace():
    with serve_path(PATH, lambda body: audio(good(body).audio, stall_s=0.05)) as server:
        servers = {"ours": SpeechServer(server.url, "tts-1", max_concurrency=3)}
        voices = [load_voice(f"server:ours/{name}", servers) for name in ("ann", "bob", "cat")]
        threads = [
            threading.Thread(target=voice.speak, args=([SpeakRequest(f"Number {n}.", n) for n in range(6)],))
            for voice in voices
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.bodies) == 3 + 18
    assert server.most_at_once <= 3
    assert len(server.peers) <= 4


def test_retries_are_not_sent_all_at_the_same_moment():
    with serve(lambda body: "Yes.", lambda number, body: FAULTS["broken"] if number < 4 else None) as server:
        client = ChatClient(endpoint(server.url, backoff_s=0.4))

        async def four():
            messages = [{"role": "user", "content": "Hello?"}]
            return await asyncio.gather(*(client.ask(messages, seed) for seed in range(4)))

        asyncio.run(four())
    waits = sorted(later - earlier for earlier, later in itertools.pairwise([server.times[0], *server.times[4:]]))
    assert server.times[4] - server.times[0] >= 0.2
    assert server.times[-1] - server.times[3] < 0.8
    assert max(waits[:-1]) > 0.005


def test_a_wait_that_any_failure_asks_for_is_kept():
    busy = Fault(500, "restarting", (("Retry-After", "0.5"),))
    with serve(lambda body: "Yes.", lambda number, body: busy if number == 0 else None) as server:
        ask(server)
    assert server.times[1] - server.times[0] >= 0.5


@pytest.mark.parametrize("wrong", [[], ["http://a/v1", "http://a/v1"], ["http://a/v1", "b/v1"]])
def test_a_list_of_servers_names_each_once(wrong):
    with pytest.raises(ValueError, match="base_url must"):
        endpoint(tuple(wrong))
