"""Language models are asked: good answers, small plans, and what came back."""

import asyncio
import json
import re

from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.generate import Generation, generate


def turns_asked_for(body):
    counted = re.search(r"exactly (\S+) turns?|has (\d+) turns", body["messages"][1]["content"])
    return 1 if counted[1] == "one" else int(counted[1] or counted[2])


def good_answer(body):
    turns = [{"question": f"Question {n}, please?", "answer": f"Here is {n}."} for n in range(turns_asked_for(body))]
    return json.dumps({"turns": turns})


def endpoint(url, **more):
    quick = {"base_url": url, "model": "tiny", "backoff_s": 0.001, "timeout_s": 60.0, "max_concurrency": 8}
    return ChatEndpoint(**quick | more)


def timeout_s_for(name):
    return 1.0 if name == "stalled" else 60.0


async def collect(outcomes):
    return [outcome async for outcome in outcomes]


def generated(server, count, cache=None, seed=1, ask=None, style_tags=(), **more):
    """Outcomes of a small plan, and the client that was asked; `ask` holds further settings of the plan."""

    async def run():
        client = ChatClient(endpoint(server.url, **more), cache)
        config = Generation(conversations=count, **ask or {})
        return await collect(generate(config, seed, client, style_tags)), client

    return asyncio.run(run())


def ask(server, cache=None, **more):
    client = ChatClient(endpoint(server.url, **more), cache)
    return asyncio.run(client.ask([{"role": "user", "content": "Hello?"}], 7))
