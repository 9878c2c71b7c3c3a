"""Text from language models: whole conversations asked for by kind, and written ones made speakable.

    config = Generation(conversations=1000)
    with AnswerCache("answers.sqlite") as cache:
        client = ChatClient(ChatEndpoint("http://localhost:8000/v1", model="qwen"), cache)
        await client.probe(SCHEMA)
        async for outcome in generate(config, seed=1, client=client):
            ...  # Generated, Rejected or Deferred, in the order of the plan

`endpoint` says where and how to ask, `client` asks, `cache` keeps the answers, `job` checks them; `generate` and
`rewrite` say what is asked for.
"""
