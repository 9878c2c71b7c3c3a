"""A language model that says as many turns as it is asked for."""

import json
import re


def answer(body):
    """As many turns as are asked for; what they say follows from the seed."""
    counted = re.search(r"exactly (\S+) turns?|has (\d+) turns", body["messages"][-1]["content"])
    if counted is None:
        return '{"turns": []}'
    count = 1 if counted[1] == "one" else int(counted[1] or counted[2])
    name = body["seed"]
    turns = [{"question": f"Question {name} {n}, please?", "answer": f"Here is {name} {n}."} for n in range(count)]
    return json.dumps({"turns": turns})
