"""One conversation with a language model: checked, repaired once, counted, and kept so that it is paid for once."""

import json
import signal
import subprocess
import sys
import textwrap

import pytest
from support.asking import ask, generated, good_answer, turns_asked_for
from support.misbehaving import Fault, completion, serve

from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.endpoint import Usage
from anytalk.synth.llm.job import Generated
from anytalk.synth.llm.speech import check_spoken


def test_a_broken_answer_is_repaired_once_by_showing_what_is_wrong():
    def answer(body):
        return good_answer(body) if len(body["messages"]) > 2 else '{"turns": [{"question": "Who?"}]}'

    with serve(answer) as server:
        [outcome], _ = generated(server, 1)
    assert outcome.provenance["repaired"] == 1
    said, told = server.bodies[1]["messages"][2:]
    assert said == {"role": "assistant", "content": '{"turns": [{"question": "Who?"}]}'}
    assert "turns.0.answer: Field required" in told["content"]
    first, second = server.bodies
    assert (first["temperature"], second["temperature"]) == (0.9, 1.2)
    assert second["seed"] == first["seed"] + 1


@pytest.mark.parametrize("said", ["the whole prompt", "the form alone"])
def test_a_prompt_that_comes_back_is_no_answer(said):
    def answer(body):
        told = "\n".join(message["content"] for message in body["messages"])
        return told + "\nH\ufffdCD" if said == "the whole prompt" else told[told.index('{"turns"') :].split("\n")[0]

    with serve(answer) as server:
        outcomes, _ = generated(server, 2)
    assert [outcome.reason for outcome in outcomes] == ["echoes_prompt"] * 2
    with serve(lambda body: f"The form is {answer(body)}. Here it is: {good_answer(body)}") as server:
        [outcome], _ = generated(server, 1)
    assert outcome.turns[0].question == "Question 0, please?"


def test_what_cannot_be_said_or_takes_too_long_is_rejected_with_its_reason():
    def answer(body):
        words = "word " * 300 if body["seed"] % 2 else "Look at https://example.org"
        return json.dumps({"turns": [{"question": "What?", "answer": words}] * turns_asked_for(body)})

    with serve(answer) as server:
        outcomes, _ = generated(server, 12)
    assert {outcome.reason for outcome in outcomes} == {"url", "too_long"}
    assert len(server.bodies) == 24


@pytest.mark.parametrize("tags", [(), ("<laugh>", "[sigh]")])
def test_style_tags_pass_where_they_are_allowed_and_the_model_is_told(tags):
    def answer(body):
        return json.dumps({"turns": [{"question": "Why? [sigh]", "answer": "Because <laugh>, you know."}]})

    with serve(answer) as server:
        outcomes, _ = generated(server, 1, ask={"kinds": ["everyday"]}, style_tags=tags)
    told = server.bodies[0]["messages"][0]["content"]
    if tags:
        [turn] = outcomes[0].turns
        assert (turn.question, turn.answer) == ("Why? [sigh]", "Because <laugh>, you know.")
        assert told.endswith("<laugh> [sigh]")
    else:
        assert outcomes[0].reason == "brackets"
        assert "marks" not in told


def test_an_answer_that_is_the_question_but_for_a_tag_is_no_answer():
    def answer(body):
        return json.dumps({"turns": [{"question": "Is it raining?", "answer": "Is it raining? *sighs*"}]})

    with serve(answer) as server:
        [outcome], _ = generated(server, 1, ask={"kinds": ["everyday"]}, style_tags=("*sighs*",))
    assert outcome.reason == "echoes_prompt"


def test_tokens_and_cost_are_counted(tmp_path):
    with serve(good_answer) as server, AnswerCache(tmp_path / "a.sqlite") as cache:
        _, client = generated(server, 10, cache, price_in_per_million=2.0, price_out_per_million=10.0)
        assert client.usage == Usage(answers=10, prompt_tokens=1000, completion_tokens=200)
        assert client.endpoint.cost(client.usage) == pytest.approx(0.004)
        _, again = generated(server, 10, cache)
    assert again.usage == Usage(cached=10)
    assert again.endpoint.cost(again.usage) is None


# -- What can be said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("**Bold** words", "markdown"),
        ("1. First\n2. Second", "list"),
        ("See www.example.org", "url"),
        ("Hm (maybe)", "brackets"),
        ("Yes 🙂", "emoji"),
        ("...", "empty"),
        ("a\0b", "symbols"),
        ("Да, конечно", "wrong_language"),
        ("word " * 100, "too_long"),
    ],
)
def test_text_for_the_eye_is_not_spoken_and_has_the_reason_that_any_source_has(text, reason):
    with pytest.raises(SampleError, match=f"^{reason}: the answer: {reason} "):
        check_spoken("the answer", text, "en", 20.0)


def test_text_for_the_ear_passes_with_what_is_written_out_before_it_is_said():
    text = "Well, it's half past 3; that's 20% off — isn't it? “Yes,” she said… ¿Qué?"
    check_spoken("the answer", text, "en", 20.0)


# -- The cache


def test_a_killed_run_sends_again_at_most_what_was_in_flight(tmp_path):
    script = """
        import asyncio, os, signal, sys
        from anytalk.synth.llm.cache import AnswerCache
        from anytalk.synth.llm.client import ChatClient
        from anytalk.synth.llm.endpoint import ChatEndpoint
        from anytalk.synth.llm.generate import Generation, generate

        async def run():
            url, path = sys.argv[1:]
            client = ChatClient(ChatEndpoint(url, "tiny", max_concurrency=8), AnswerCache(path))
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
