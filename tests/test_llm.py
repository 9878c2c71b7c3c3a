"""Text from language models: asked over real sockets of a server that misbehaves, and of a real one."""

import asyncio
import collections
import contextlib
import importlib.util
import itertools
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytalk.pipelines.recipe_file import Section
from anytalk.pipelines.vllm import ClusterModel, answer_row, processor_config, read_row, request_row, run_on_cluster
from anytalk.synth.errors import EngineError, MissingExtra, SampleError, SetupError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.client import Answer, Client
from anytalk.synth.llm.draw import deal
from anytalk.synth.llm.endpoint import Endpoint, Usage
from anytalk.synth.llm.generate import Generation, bundled_choices, generate, generation_jobs, plan_requests
from anytalk.synth.llm.job import SCHEMA, Deferred, Generated, Rejected, Turn
from anytalk.synth.llm.pace import Pace
from anytalk.synth.llm.rewrite import Rewriting, Written, rewrite
from anytalk.synth.llm.speech import check_spoken
from anytalk.synth.llm.template import bundled_kinds, load_template

from .misbehaving import FAULTS, MACHINERY, Fault, completion, serve

BUSY = Fault(429, "", (("Retry-After", "0.5"),))


def turns_asked_for(body):
    counted = re.search(r"exactly (\S+) turns?|has (\d+) turns", body["messages"][1]["content"])
    return 1 if counted[1] == "one" else int(counted[1] or counted[2])


def good_answer(body):
    turns = [{"question": f"Question {n}, please?", "answer": f"Here is {n}."} for n in range(turns_asked_for(body))]
    return json.dumps({"turns": turns})


def endpoint(url, **more):
    return Endpoint(url, "tiny", **{"backoff_s": 0.001, "timeout_s": 60.0, "max_concurrency": 8} | more)


def patience_s(name):
    return 1.0 if name == "stalled" else 60.0


async def collect(outcomes):
    return [outcome async for outcome in outcomes]


def generated(server, count, cache=None, seed=1, **more):
    """Outcomes of a small plan, and the client that was asked."""

    async def run():
        async with Client(endpoint(server.url, **more), cache) as client:
            return await collect(generate(Generation(conversations=count), seed, client)), client

    return asyncio.run(run())


def ask(server, cache=None, **more):
    async def run():
        async with Client(endpoint(server.url, **more), cache) as client:
            return await client.ask([{"role": "user", "content": "Hello?"}], 7)

    return asyncio.run(run())


# -- A server that misbehaves


def test_every_row_ends_once_and_the_next_run_finishes_what_was_deferred(tmp_path):
    names = list(FAULTS)

    def fault(number, body):
        place = body["seed"] % (len(names) + 4)
        return FAULTS[names[place]] if place < len(names) else None

    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        with serve(good_answer, fault) as server:
            firsts, _ = generated(server, 40, cache, attempts=2, timeout_s=1.0)
        with serve(good_answer) as server:
            seconds, client = generated(server, 40, cache)
            asked_again = len(server.bodies)
            thirds, _ = generated(server, 40, cache)
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
        [outcome], client = generated(server, 1, attempts=2, timeout_s=patience_s(name))
    if name in MACHINERY:
        assert isinstance(outcome, Deferred)
        assert client.usage.retries == 1
        assert client.usage.answers == 0
    else:
        assert outcome.reason == ("refused_request" if name in ("refused", "filtered") else "malformed_answer")


@pytest.mark.parametrize("name", MACHINERY)
def test_a_passing_fault_of_the_machinery_costs_one_more_request(name):
    with serve(good_answer, lambda number, body: FAULTS[name] if number == 0 else None) as server:
        [outcome], client = generated(server, 1, timeout_s=patience_s(name))
    assert isinstance(outcome, Generated)
    assert (len(server.bodies), client.usage.retries, client.usage.answers) == (2, 1, 1)


def test_retry_after_holds_back_every_request():
    with serve(good_answer, lambda number, body: BUSY if number == 20 else None) as server:
        outcomes, client = generated(server, 60)
    assert all(isinstance(outcome, Generated) for outcome in outcomes)
    assert client.usage.retries == 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(server.times)]
    assert max(pauses[20:29]) > 0.4  # Those under way when the first was refused still came.
    assert server.most_at_once <= 8


def test_the_pace_doubles_until_it_is_cut_and_then_grows_slowly():
    async def run():
        pace, clock = Pace(32), asyncio.get_running_loop().time
        limits = [pace.limit]
        for _ in range(12):
            pace.quicken()
        limits.append(pace.limit)
        sent = clock()
        pace.slow(sent, pause_s=0.05)
        pace.slow(sent, pause_s=0.0)  # Sent before the cut, so it says nothing new.
        limits.append(pace.limit)
        async with pace.turn() as began:
            assert began >= sent + 0.05
        for _ in range(8):
            pace.quicken()
        limits.append(pace.limit)
        for _ in range(10):
            pace.slow(clock(), pause_s=0.0)
            await asyncio.sleep(0.001)
        return [*limits, pace.limit]

    assert asyncio.run(run()) == [4, 16, 8, pytest.approx(9, abs=0.1), 1]


def test_a_wait_beyond_bounds_defers_the_rest_at_once():
    busy = Fault(429, "come back tomorrow", (("Retry-After", "86400"),))
    with serve(good_answer, lambda number, body: busy) as server:
        outcomes, _ = generated(server, 50)
    assert all(isinstance(outcome, Deferred) for outcome in outcomes)
    assert len(server.bodies) <= 8
    assert "asks to wait 86400 s" in outcomes[-1].detail


def test_an_endpoint_that_is_down_is_left_alone_after_some_requests():
    with serve(good_answer, lambda number, body: FAULTS["broken"]) as server:
        outcomes, _ = generated(server, 100, attempts=2)
    assert all(isinstance(outcome, Deferred) for outcome in outcomes)
    assert len(server.bodies) < 40
    assert "nothing more is sent" in outcomes[-1].detail


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


def test_a_broken_answer_is_repaired_once_by_showing_what_is_wrong():
    def answer(body):
        return good_answer(body) if len(body["messages"]) > 2 else '{"turns": [{"question": "Who?"}]}'

    with serve(answer) as server:
        [outcome], _ = generated(server, 1)
    assert outcome.provenance["repaired"] == 1
    said, told = server.bodies[1]["messages"][2:]
    assert said == {"role": "assistant", "content": '{"turns": [{"question": "Who?"}]}'}
    assert "turns.0.answer: Field required" in told["content"]


def test_what_cannot_be_said_or_takes_too_long_is_rejected_with_its_reason():
    def answer(body):
        words = "word " * 300 if body["seed"] % 2 else "Look at https://example.org"
        return json.dumps({"turns": [{"question": "What?", "answer": words}] * turns_asked_for(body)})

    with serve(answer) as server:
        outcomes, _ = generated(server, 12)
    assert {outcome.reason for outcome in outcomes} == {"unspeakable_text", "too_long_text"}
    assert len(server.bodies) == 24


def test_tokens_and_cost_are_counted(tmp_path):
    with serve(good_answer) as server, AnswerCache(tmp_path / "a.sqlite") as cache:
        _, client = generated(server, 10, cache, price_in_per_million=2.0, price_out_per_million=10.0)
        assert client.usage == Usage(answers=10, prompt_tokens=1000, completion_tokens=200)
        assert client.endpoint.cost(client.usage) == pytest.approx(0.004)
        _, again = generated(server, 10, cache)
    assert again.usage == Usage(cached=10)
    assert again.endpoint.cost(again.usage) is None


# -- Set-up and keys


def test_an_unreachable_endpoint_is_a_bad_set_up():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async def probe():
        async with Client(endpoint(url)) as client:
            await client.probe(SCHEMA)

    with pytest.raises(SetupError, match=r"no answer from http://127.*ConnectError.*check base_url"):
        asyncio.run(probe())


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [(401, "wrong key", "status 401: wrong key"), (404, "no model", "status 404"), (400, "bad top_p", "bad top_p")],
)
def test_the_probe_tells_what_the_server_minds(status, text, message):
    async def probe(url):
        async with Client(endpoint(url)) as client:
            await client.probe(SCHEMA)

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
        Client(endpoint("http://localhost:1/v1", api_key_env="TINY_API_KEY"))


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
        Endpoint(**{"base_url": "http://host/v1", "model": "tiny"} | wrong)
    assert "secret" not in str(error.value)


# -- The cache


def test_a_killed_run_sends_again_at_most_what_was_in_flight(tmp_path):
    script = """
        import asyncio, os, signal, sys
        from anytalk.synth.llm.cache import AnswerCache
        from anytalk.synth.llm.client import Client
        from anytalk.synth.llm.endpoint import Endpoint
        from anytalk.synth.llm.generate import Generation, generate

        async def run():
            url, path = sys.argv[1:]
            client = Client(Endpoint(url, "tiny", max_concurrency=8), AnswerCache(path))
            count = 0
            async for outcome in generate(Generation(conversations=60), 1, client):
                count += 1
                if count == 25:
                    os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(run())
    """
    slow = lambda number, body: Fault(text=completion(good_answer(body)), stall_s=0.01)  # noqa: E731
    with serve(good_answer, slow) as server:
        command = [sys.executable, "-c", textwrap.dedent(script), server.url, str(tmp_path / "a.sqlite")]
        done = subprocess.run(command, check=False)
        assert done.returncode == -signal.SIGKILL
        sent = len(server.bodies)
        with AnswerCache(tmp_path / "a.sqlite") as cache:
            outcomes, _ = generated(server, 60, cache)
        assert all(isinstance(outcome, Generated) for outcome in outcomes)
        assert 25 <= sent < 60
        assert len(server.bodies) <= 60 + 8


def test_what_changes_an_answer_changes_its_name_in_the_cache(tmp_path):
    with serve(lambda body: f"{body['temperature']}") as server, AnswerCache(tmp_path / "a.sqlite") as cache:
        texts = [ask(server, cache, temperature=t, timeout_s=50.0 + t).text for t in (0.1, 0.2, 0.1)]
        ask(server, cache, temperature=0.1, max_concurrency=2)
    assert texts == ["0.1", "0.2", "0.1"]
    assert len(server.bodies) == 2


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(SetupError, match=r"notes\.txt cannot keep answers"):
        AnswerCache(tmp_path / "notes.txt")


# -- The plan


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=8), times=st.integers(1, 6), seed=st.integers(0, 99))
def test_quotas_are_kept_exactly_where_they_are_whole(weights, times, seed):
    wanted = {f"value {n}": weight for n, weight in enumerate(weights)}
    draws = deal(wanted, seed, "axis")
    drawn = [next(draws) for _ in range(sum(weights) * times)]
    assert collections.Counter(drawn) == {value: weight * times for value, weight in wanted.items()}
    for count in range(1, len(drawn)):
        counted = collections.Counter(drawn[:count])
        assert all(abs(counted[v] - count * w / sum(weights)) < 2 for v, w in wanted.items())


def test_the_plan_follows_from_configuration_and_seed_and_its_beginning_stays():
    plan = list(plan_requests(Generation(conversations=440), 5))
    assert plan == list(plan_requests(Generation(conversations=440), 5))
    assert plan[:100] == list(plan_requests(Generation(conversations=100), 5))
    assert plan != list(plan_requests(Generation(conversations=440), 6))
    kinds = collections.Counter(request.kind for request in plan)
    assert kinds == {kind: 22 * weight for kind, weight in bundled_choices()["kinds"].items()}
    assert len({(r.kind, r.topic, r.persona, r.style, r.spark) for r in plan}) > 430
    pairs = collections.Counter((r.persona, r.style) for r in plan)
    assert max(pairs.values()) < 12  # 440 / (24 * 10) is 1.8: the lists are drawn independently.


def test_configurations_can_be_sections_of_a_recipe():
    class Sections(Section):
        endpoint: Endpoint
        generation: Generation
        rewriting: Rewriting = Rewriting()

    written = {
        "endpoint": {"base_url": "http://host/v1", "model": "tiny", "extra": {"a": {"b": False}}},
        "generation": {
            "conversations": 20,
            "kinds": ["everyday"],
            "seconds": {4: 1, 8: 3},
            "topics": {"everyday": {"tea": 2}},
        },
    }
    sections = Sections.model_validate(written)
    dumped = sections.model_dump(mode="json")
    assert Sections.model_validate(dumped).model_dump(mode="json") == dumped
    plain = Generation(conversations=20, kinds=("everyday",), seconds={4.0: 1, 8.0: 3}, topics={"everyday": ["tea"]})
    assert list(plan_requests(sections.generation, 1)) == list(plan_requests(plain, 1))
    with pytest.raises(ValueError, match=r"endpoint\.modle"):
        Sections.model_validate(written | {"endpoint": {"base_url": "http://host/v1", "modle": "tiny"}})


def test_languages_and_lengths_reach_prompt_and_limits():
    config = Generation(conversations=4, languages={"de": 1, "zh-CN": 1}, seconds=[8], kinds=["everyday"])
    jobs = list(generation_jobs(config, 1))
    assert collections.Counter(job.language for job in jobs) == {"de": 2, "zh-CN": 2}
    for job in jobs:
        assert f"the language with the tag {job.language}" in job.messages[0]["content"]
        assert ("20 words" if job.language == "de" else "40 characters") in job.messages[1]["content"]
        assert job.max_answer_s == 19


def test_a_conversation_comes_back_with_its_turns_in_order_and_its_provenance():
    with serve(good_answer) as server:
        outcomes, _ = generated(server, 44)
    long = [outcome for outcome in outcomes if len(outcome.turns) > 2]
    assert {outcome.split_name for outcome in long} == {"conversation"}
    assert [turn.answer for turn in long[0].turns[:2]] == ["Here is 0.", "Here is 1."]
    assert {outcome.split_name for outcome in outcomes} == set(bundled_kinds())
    assert re.fullmatch(r"conversation@1:[0-9a-f]{12}", long[0].provenance["template"])
    assert long[0].provenance["model"] == "tiny-1"
    assert long[0].provenance["topic"] in bundled_choices()["topics"]["conversation"]


def test_every_kind_has_a_template_and_topics():
    choices = bundled_choices()
    assert set(bundled_kinds()) == set(choices["kinds"]) == set(choices["topics"])
    for job in generation_jobs(Generation(conversations=200), 1):
        text = " ".join(message["content"] for message in job.messages)
        assert "$" not in text
        assert '{"turns"' in text


def test_own_templates_come_first_and_a_wrong_one_is_refused_by_name(tmp_path):
    (tmp_path / "weather.md").write_text("---\nversion: 3\n---\n# system\n\n$rules\n\n# user\n\nTalk about $topic.\n")
    config = Generation(conversations=1, kinds=["weather"], topics={"weather": ["hail"]}, templates=str(tmp_path))
    [job] = generation_jobs(config, 1)
    assert job.messages[1]["content"] == "Talk about hail."
    assert job.provenance["template"].startswith("weather@3:")
    with pytest.raises(SetupError, match=r"topics\.weather is missing"):
        list(plan_requests(Generation(conversations=1, kinds=["weather"], templates=str(tmp_path)), 1))
    with pytest.raises(SetupError, match=r"no template 'wether'; known: conversation, everyday"):
        list(plan_requests(Generation(conversations=1, kinds=["wether"]), 1))
    (tmp_path / "weather.md").write_text("---\nversion: 3\n---\n# system\n\n$rules\n\n# user\n\nAbout $topik.\n")
    with pytest.raises(SetupError, match=r"weather\.md: \$topik is not known"):
        load_template("weather", tmp_path)


def test_a_changed_template_has_another_name(tmp_path):
    (tmp_path / "rules.md").write_text("---\nversion: 2\n---\nSpeak.\n")
    ours, theirs = load_template("everyday", tmp_path), load_template("everyday")
    assert ours.system.startswith("Speak.")
    assert ours.name != theirs.name


@pytest.mark.parametrize(
    "text",
    [
        "**Bold** words",
        "1. First\n2. Second",
        "- one\n- two",
        "See www.example.org",
        "Hm (maybe)",
        "Yes 🙂",
        "...",
        "a\0b",
    ],
)
def test_text_for_the_eye_is_not_spoken(text):
    with pytest.raises(SampleError, match="unspeakable_text"):
        check_spoken("the answer", text)


def test_text_for_the_ear_passes():
    check_spoken(
        "the answer", "Well, it's half past three; that's twenty percent off — isn't it? “Yes,” she said… ¿Qué? 好的。"
    )


# -- Rewriting

WRITTEN = [
    Written("alpaca", "a1", "en", (Turn(question="List 3 fruits.", answer="1. Apple\n2. Pear\n3. Fig"),), "a.jsonl:1"),
    Written("chat", "b2", "en", tuple(Turn(question=f"Q{n} $x {{y}}?", answer="A") for n in range(3)), "a.jsonl:2"),
]


def rewritten(server, **config):
    async def run():
        async with Client(endpoint(server.url)) as client:
            return await collect(rewrite(WRITTEN, Rewriting(**config), 1, client))

    return asyncio.run(run())


def test_a_written_conversation_is_rewritten_turn_by_turn_in_order():
    with serve(good_answer) as server:
        outcomes = rewritten(server)
    assert [(o.split_name, o.conversation, o.source, len(o.turns)) for o in outcomes] == [
        ("alpaca", "a1", "a.jsonl:1", 1),
        ("chat", "b2", "a.jsonl:2", 3),
    ]
    assert outcomes[0].turns[0].question == "Question 0, please?"
    asked = [json.loads(body["messages"][1]["content"].split("\n\n", 1)[1])["turns"] for body in server.bodies]
    assert any("2. Pear" in turns[0]["answer"] for turns in asked)


def test_questions_can_be_kept_as_they_are():
    with serve(good_answer) as server:
        outcomes = rewritten(server, sides="answer")
    assert [turn.question for turn in outcomes[1].turns] == [turn.question for turn in WRITTEN[1].turns]
    assert outcomes[1].turns[2].answer == "Here is 2."


# -- vLLM inside the cluster


class Rounds:
    """Answers as vLLM's stage of `ray.data.llm` hands them back."""

    def __init__(self, config, say):
        self.config, self.say, self.rounds = config, say, []

    def answer(self, asked):
        self.rounds.append(len(asked))
        answers = []
        for number, (messages, seed) in enumerate(asked):
            row = {"number": number, "messages_json": json.dumps(list(messages)), "seed": seed}
            row |= request_row(row, self.config)
            assert json.loads(row["sampling_params"]["structured_outputs"]["json"]) == SCHEMA
            said = self.say(row)
            out = {"generated_text": said, "num_input_tokens": 9, "num_generated_tokens": 5}
            failed = row | out | {"__inference_error__": "ValueError: prompt is too long"}
            answers.append(read_row(failed if said is None else answer_row(row | out), self.config))
        return answers


def test_the_cluster_repairs_in_a_second_round_and_defers_what_failed(tmp_path):
    config = ClusterModel("qwen", chat_template={"enable_thinking": False})
    jobs = list(generation_jobs(Generation(conversations=30), 1))

    def say(row):
        if len(row["messages"]) == 2 and row["seed"] % 3 == 0:
            return None if row["seed"] % 2 else "no JSON"
        return good_answer(row)

    with AnswerCache(tmp_path / "a.sqlite") as cache:
        first = Rounds(config, say)
        outcomes = list(run_on_cluster(jobs, config, cache, first))
        failed = sum(job.seed % 6 == 3 for job in jobs)
        assert first.rounds == [30, sum(job.seed % 6 == 0 for job in jobs)]
        assert [o.conversation for o in outcomes] == [job.conversation for job in jobs]
        assert sum(isinstance(o, Deferred) for o in outcomes) == failed > 0
        second = Rounds(config, good_answer)
        assert all(isinstance(o, Generated) for o in run_on_cluster(jobs, config, cache, second))
        assert second.rounds == [failed]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # Of ray.llm's own classes.
def test_the_configuration_is_one_that_ray_takes():
    pytest.importorskip("vllm", reason="ray.data.llm cannot be imported without the extra vllm")
    made = processor_config(ClusterModel("qwen", replicas=4, tensor_parallel_size=2, engine={"max_model_len": 4096}))
    assert (made.model_source, made.concurrency, made.batch_size) == ("qwen", 4, 64)
    assert made.engine_kwargs["tensor_parallel_size"] == 2
    assert made.should_continue_on_error


def test_without_vllm_the_pip_line_is_given():
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    with pytest.raises(MissingExtra, match=r'pip install "anytalk\[vllm\]"'):
        list(run_on_cluster([], ClusterModel("qwen")))


# -- A real server

SERVING = ("accelerate", "fastapi", "openai", "uvicorn")


def write_tiny_model(folder):
    """A random Qwen2 of a few thousand weights that knows bytes and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "<end>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Qwen2Config(
        vocab_size=len(vocabulary), num_key_value_heads=2, max_position_embeddings=16384, eos_token_id=None, **shape
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)


@contextlib.contextmanager
def transformers_serve(folder, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--device", "cpu"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=output, stderr=output, env=environment
        )
    try:
        for _ in range(1500):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_real_server_is_asked_and_its_babble_is_rejected(tmp_path):
    missing = [name for name in SERVING if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"transformers serve needs {', '.join(missing)}: pip install 'transformers[serving]'")
    folder = tmp_path / "tiny"
    write_tiny_model(folder)

    async def run(url, cache):
        async with Client(Endpoint(url, str(folder), max_tokens=32, max_concurrency=2), cache) as client:
            await client.probe(SCHEMA)
            probed = client.usage.answers
            outcomes = await collect(generate(Generation(conversations=4), 1, client))
            return outcomes, probed, client.usage

    async def probe_of_another_model(url):
        async with Client(Endpoint(url, "another", max_tokens=8)) as client:
            await client.probe(SCHEMA)

    with AnswerCache(tmp_path / "a.sqlite") as cache, transformers_serve(folder, tmp_path / "log.txt") as url:
        outcomes, probed, usage = asyncio.run(run(url, cache))
        again, _, cached = asyncio.run(run(url, cache))
        with pytest.raises(SetupError, match="another"):
            asyncio.run(probe_of_another_model(url))
    assert probed == 1
    assert [outcome.reason for outcome in outcomes] == ["malformed_answer"] * 4
    assert "it was cut off after 32 tokens" in outcomes[0].detail
    assert usage.answers == 9
    assert usage.uncounted == 0
    assert usage.prompt_tokens > 4 * 500
    assert 0 < usage.completion_tokens <= 9 * 32
    assert again == outcomes
    assert cached.cached == 8


def test_a_client_answers_with_what_the_server_said():
    with serve(lambda body: "Hello.") as server:
        assert ask(server) == Answer("Hello.", "stop", "tiny-1", 100, 20)
    with (
        serve(good_answer, lambda number, body: FAULTS["broken"]) as server,
        pytest.raises(EngineError, match="sent 3"),
    ):
        ask(server, attempts=3)
