"""A plan in parts: what a language model has answered is planned and spoken while the rest is being asked for."""

import json
import random

import pytest
from support.misbehaving import Fault, completion, serve
from support.turns_asked import answer

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import GrowingPlan, load_committed, load_or_make
from anytalk.pipelines.progress import Quiet
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import EngineError


def source(server, conversations, part, kinds=("everyday",), **more):
    endpoint = {"base_url": server.url, "model": "tiny", "backoff_s": 0.001, "attempts": 1, "max_concurrency": 4}
    ask = {"conversations": conversations, "kinds": list(kinds)}
    return {"kind": "llm", "endpoint": endpoint, "ask": ask, "part": part} | more


def growing(recipe, folder):
    return GrowingPlan(load_recipe(recipe), Store(folder), Quiet())


def files(folder, *kinds):
    """Bytes of a plan's files, by name."""
    paths = [path for part in ("plan", "rejects") for path in (folder / part).glob("*.arrow")]
    return {path.name: path.read_bytes() for path in paths}


def is_probe(body):
    return body["messages"][-1]["content"].endswith("and nothing else.")


def test_a_plan_grows_by_parts_whose_units_follow_each_other(fake_recipe, tmp_path):
    with serve(answer) as server:
        recipe = fake_recipe(source=source(server, 10, 4), split={"test": 0.3})
        plans = list(growing(recipe, tmp_path / "out").parts())
        assert len(server.bodies) == 1 + 10
        again = list(growing(recipe, tmp_path / "out").parts())
    assert [(len(plan.parts), plan.is_whole, plan.rows) for plan in plans] == [
        (1, False, 4),
        (2, False, 8),
        (3, True, 10),
    ]
    assert [plan.parts_in_all for plan in again] == [3]
    whole = again[0]
    assert [row.unit for unit in whole.units for row in unit] == sorted(
        row.unit for unit in whole.units for row in unit
    )
    for plan in plans:
        # What is there stays what it is.
        assert [plan.units[n] for n in range(len(plan.units))] == whole.units[: len(plan.units)]
        assert [plan.sha256(n) for n in range(len(plan.units))] == [whole.sha256(n) for n in range(len(plan.units))]
    assert len({row.id for unit in whole.units for row in unit}) == 10
    assert {row.unit for row in whole.units[3]} == {3}


def test_without_parts_there_is_one(fake_recipe, tmp_path):
    with serve(answer) as server:
        for name, part in (("null", None), ("large", 10)):
            plan = load_or_make(load_recipe(fake_recipe(source=source(server, 10, part))), Store(tmp_path / name))
            assert (len(plan.parts), plan.is_whole) == (1, True)
    assert files(tmp_path / "null") == files(tmp_path / "large")
    assert "parts" not in json.loads((tmp_path / "large" / "plan" / "plan.json").read_text())


def test_neither_the_order_of_answers_nor_an_interruption_changes_a_byte(fake_recipe, tmp_path):
    rng = random.Random(4)
    slow = lambda number, body: Fault(text=completion(answer(body)), stall_s=rng.random() / 20)  # noqa: E731
    with serve(answer) as server:
        recipe = fake_recipe(source=source(server, 12, 5))
        load_or_make(load_recipe(recipe), Store(tmp_path / "one" / "out"))
        server.fault = slow
        broken = growing(recipe, tmp_path / "two" / "out").parts()
        next(broken)
        server.fault = lambda number, body: Fault(502, "broken")
        with pytest.raises(
            EngineError, match=r"^5 conversations deferred for part 2 of 3, so nothing of it is planned"
        ):
            next(broken)
        there = load_committed(Store(tmp_path / "two" / "out"))
        assert (len(there.parts), there.is_whole, there.rows) == (1, False, 5)
        before = len(server.bodies)
        server.fault = slow
        assert load_or_make(load_recipe(recipe), Store(tmp_path / "two" / "out")).rows == 12
        assert len(server.bodies) == before + 1 + 7
    assert files(tmp_path / "one" / "out") == files(tmp_path / "two" / "out")


def test_an_earlier_part_wins_over_what_repeats_it_or_is_like_it(fake_recipe, tmp_path):
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    said = [
        " ".join(words),
        "Something else altogether, and long enough",
        " ".join(words),
        " ".join([*words[:9], "last"]),
    ]
    questions = iter([*said, said[1], "A new question, whatever it is about"])

    def told(body):
        if is_probe(body):
            return answer(body)
        return json.dumps({"turns": [{"question": next(questions), "answer": "So it is."}]})

    with serve(told) as server:
        ask = source(server, 6, 2)
        ask["endpoint"]["max_concurrency"] = 1  # In the order of the conversations.
        recipe = fake_recipe(source=ask, dedup={"threshold": 0.6, "ngram": 1})
        plan = load_or_make(load_recipe(recipe), Store(tmp_path / "out"))
    assert plan.reasons == {"repeat": 2, "near_duplicate": 1}
    assert plan.rows == 3
    table = {row["question"]: row for path in (tmp_path / "out" / "rejects").glob("*.arrow") for row in _rows(path)}
    kept = {row.pair.question: row.pair.source for unit in plan.units for row in unit}
    assert table[said[2]]["detail"] == f"the same as {kept[said[0]]}"
    assert kept[said[0]] in table[said[3]]["detail"]


def _rows(path):
    import pyarrow as pa

    return pa.ipc.open_file(path).read_all().to_pylist()


def test_a_dataset_of_several_parts_is_built_closed_and_checked(fake_recipe, tmp_path):
    with serve(answer) as server:
        ask = source(server, 10, 4)
        ask["endpoint"] |= {"price_in_per_million": 2.0, "price_out_per_million": 10.0}
        summary = build(fake_recipe(source=ask), tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.complete, summary.units) == (10, True, 3)
    assert check(tmp_path / "out").problems == []
    manifest = json.loads((tmp_path / "out" / "dataset.json").read_text())
    [bill] = manifest["asked"]
    assert (bill["answers"], bill["prompt_tokens"]) == (10, 1000)
    announced = sorted(path.name for path in (tmp_path / "out" / "plan").glob("*.json"))
    assert announced == ["made-with-000000.json", "part-000001.json", "part-000002.json", "plan.json"]
    assert build(tmp_path / "fake.yaml", tmp_path / "out", local=True).complete
    (tmp_path / "out" / "plan" / "part-000001.json").unlink()
    assert "listed in SHA256SUMS but missing" in " ".join(check(tmp_path / "out").problems)
