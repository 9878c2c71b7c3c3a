"""Requests to a third-party chat server, `transformers serve`."""

import asyncio

import pytest
from support.asking import collect
from support.chat_server import python_of_server, transformers_serve, write_tiny_model

from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.source import cache_of
from anytalk.synth.errors import SetupError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.generate import Generation, generate
from anytalk.synth.llm.job import SCHEMA


@pytest.mark.slow
def test_a_real_server_is_asked_and_its_babble_is_rejected(fake_recipe, tmp_path):
    python = python_of_server()
    if python is None:
        pytest.skip("no transformers serve; tests/support/chat_server.py says how to install one")
    folder = tmp_path / "tiny"
    write_tiny_model(folder)

    async def run(url, cache):
        client = ChatClient(ChatEndpoint(url, str(folder), max_tokens=32, max_concurrency=2), cache)
        await client.probe(SCHEMA)
        probed = client.usage.answers
        outcomes = await collect(generate(Generation(conversations=4), 1, client))
        return outcomes, probed, client.usage

    async def probe_of_another_model(url):
        await ChatClient(ChatEndpoint(url, "another", max_tokens=8)).probe(SCHEMA)

    ask = {"endpoint": {"model": str(folder), "max_tokens": 32, "max_concurrency": 2}, "ask": {"conversations": 4}}
    store = Store(tmp_path / "set")
    with AnswerCache(cache_of(store)) as cache, transformers_serve(python, folder, tmp_path / "log.txt") as url:
        outcomes, probed, usage = asyncio.run(run(url, cache))
        again, _, cached = asyncio.run(run(url, cache))
        with pytest.raises(SetupError, match="another"):
            asyncio.run(probe_of_another_model(url))
        ask["endpoint"]["base_url"] = url
        planned = load_or_make(load_recipe(fake_recipe(source={"kind": "llm"} | ask)), store)
    assert probed == 1
    assert [outcome.reason for outcome in outcomes] == ["malformed_answer"] * 4
    assert "it was cut off after 32 tokens" in outcomes[0].detail
    assert usage.answers == 9
    assert usage.uncounted == 0
    assert usage.prompt_tokens > 4 * 500
    assert 0 < usage.completion_tokens <= 9 * 32
    assert again == outcomes
    assert cached.cached == 8
    assert (planned.rows, planned.reasons) == (0, {"malformed_answer": 4})
    assert [(bill["answers"], bill["cached"]) for bill in planned.costs] == [(0, 8)]
