"""What language models are asked for: plans with quotas, prompts in files, and written pairs made speakable."""

import asyncio
import collections
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import collect, endpoint, generated, good_answer
from support.misbehaving import serve

from anytalk.pipelines.recipe import Section
from anytalk.synth.errors import SetupError
from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.draw import deal
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.generate import Generation, bundled_choices, generation_jobs, plan_requests
from anytalk.synth.llm.job import Turn
from anytalk.synth.llm.rewrite import Rewriting, Written, rewrite
from anytalk.synth.llm.template import bundled_kinds, load_template


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
        endpoint: ChatEndpoint
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


# -- Rewriting

WRITTEN = [
    Written("alpaca", "a1", "en", (Turn(question="List 3 fruits.", answer="1. Apple\n2. Pear\n3. Fig"),), "a.jsonl:1"),
    Written("chat", "b2", "en", tuple(Turn(question=f"Q{n} $x {{y}}?", answer="A") for n in range(3)), "a.jsonl:2"),
]


def rewritten(server, **config):
    async def run():
        return await collect(rewrite(WRITTEN, Rewriting(**config), 1, ChatClient(endpoint(server.url))))

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
