"""A small real model behind a real server: what it says badly is named, and none of it becomes a row."""

import asyncio

import pytest
from support.asking import collect
from support.llama_server import llama, python_of_llama

from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.generate import Generation, generate
from anytalk.synth.llm.job import SCHEMA, Generated, Rejected
from anytalk.synth.text import Langid

ASKED = Generation(conversations=4, kinds=["everyday", "trivia_singlechoice"], languages=["en", "de"])


@pytest.mark.slow
def test_what_a_small_model_says_is_its_own_and_in_its_language_or_rejected_by_name():
    python = python_of_llama()
    if python is None:
        pytest.skip("no llama.cpp; tests/support/llama_server.py says how to install one")

    async def run(url):
        client = ChatClient(ChatEndpoint(url, "smollm2", max_tokens=100, max_concurrency=2, timeout_s=600))
        await client.probe(SCHEMA)
        return await collect(generate(ASKED, 1, client)), client.usage

    with llama(python) as url:
        outcomes, usage = asyncio.run(run(url))
    assert all(isinstance(outcome, Generated | Rejected) for outcome in outcomes)
    assert 1 + len(outcomes) <= usage.answers <= 1 + 2 * len(outcomes)
    langid = Langid()
    for outcome in outcomes:
        print(outcome)  # noqa: T201 - the yield, for pytest -s
        if isinstance(outcome, Rejected):
            assert outcome.said
        for turn in getattr(outcome, "turns", ()):
            assert "person says" not in turn.question.lower()
            said = f"{turn.question} {turn.answer}"
            assert langid.probability(said, outcome.language) > 0.01
