"""A plan in parts: what a language model has answered is planned and spoken while the rest is being asked for."""

import json
import random

import pytest
from support.misbehaving import Fault, banned, completion, is_probe, serve
from support.turns_asked import answer

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import GrowingPlan, load_committed, load_or_make
from anytalk.pipelines.progress import Quiet
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import EngineError, SetupError


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


# -- Mixes, rewriting, and models inside the cluster


def mix_of(server, conversations, part, *others, weights=(1.0, 1.0), **more):
    asked = source(server, conversations, part)
    parts = [{"source": one, "weight": weight} for one, weight in zip((asked, *others), weights, strict=True)]
    return {"kind": "mix", "parts": parts} | more


def table(write_jsonl, count, name="rows.jsonl", turns=1):
    """Rows of some conversations; the second turns stand after all the first ones."""
    return str(
        write_jsonl(
            [
                {"question": f"What is {n} times {turn}?", "answer": f"It is {n * turn}.", "conversation": f"c{n}"}
                | {"turn": turn}
                for turn in range(turns)
                for n in range(count)
            ],
            name,
        )
    )


def order_of(plan):
    """Which source each row is of, in plan order."""
    return [row.pair.source.partition(":")[0] for unit in plan.units for row in unit]


def test_a_mix_goes_in_parts_of_which_each_source_has_its_share(fake_recipe, write_jsonl, tmp_path):
    with serve(answer) as server:
        mixed = mix_of(server, 8, 6, table(write_jsonl, 16), weights=(1.0, 2.0))
        plans = list(growing(fake_recipe(source=mixed), tmp_path / "out").parts())
        assert len(server.bodies) == 1 + 8
    assert [(len(plan.parts), plan.parts_in_all, plan.rows) for plan in plans] == [
        (1, 4, 6),
        (2, 4, 12),
        (3, 4, 18),
        (4, 4, 24),
    ]
    assert order_of(plans[-1]) == ["rows.jsonl", "llm", "rows.jsonl"] * 8


def test_turns_that_stand_apart_are_in_one_part(fake_recipe, write_jsonl, tmp_path):
    with serve(answer) as server:
        mixed = mix_of(server, 4, 3, table(write_jsonl, 6, turns=2))
        plan = load_or_make(load_recipe(fake_recipe(source=mixed)), Store(tmp_path / "out"))
    units = [{row.pair.conversation for row in unit} for unit in plan.units]
    assert (plan.rows, sum(map(len, units))) == (4 + 12, 4 + 6)


def test_a_mix_asks_for_what_it_takes_and_no_answer_changes_which_rows_follow(fake_recipe, write_jsonl, tmp_path):
    out = tmp_path / "out"
    with serve(answer, banned(1, times=99)[0]) as server:
        recipe = fake_recipe(source=mix_of(server, 500, 8, table(write_jsonl, 500), limit=16))
        plan = load_or_make(load_recipe(recipe), Store(out))
        assert len({body["seed"] for body in server.bodies if not is_probe(body)}) == 8
    assert plan.reasons == {"no_answer": 1}
    assert sorted(order_of(plan)) == ["llm"] * 7 + ["rows.jsonl"] * 8


def test_a_mix_that_is_interrupted_in_its_second_part_has_the_same_bytes(fake_recipe, write_jsonl, tmp_path):
    with serve(answer) as server:
        rows = [table(write_jsonl, 9), table(write_jsonl, 3, "more.jsonl")]
        recipe = fake_recipe(source=mix_of(server, 12, 5, *rows, weights=(2.0, 1.0, 1.0)))
        load_or_make(load_recipe(recipe), Store(tmp_path / "one" / "out"))
        broken = growing(recipe, tmp_path / "two" / "out").parts()
        next(broken)
        server.fault = lambda number, body: Fault(502, "broken")
        with pytest.raises(EngineError, match="deferred for part 2 of 5, so nothing of it is planned"):
            next(broken)
        server.fault = lambda number, body: None
        assert load_or_make(load_recipe(recipe), Store(tmp_path / "two" / "out")).rows == 12 + 9
    assert files(tmp_path / "one" / "out") == files(tmp_path / "two" / "out")


def test_what_no_pair_is_stands_among_the_rejects_of_the_first_part(fake_recipe, write_jsonl, tmp_path):
    gone = {"question": "What?", "answer": "It.", "question_audio": "gone.wav"}
    rows = write_jsonl([{"question": "Who?", "answer": "She."}, {"question": "Where?", "answer": "There."}, gone])
    with serve(answer) as server:
        recipe = fake_recipe(source=mix_of(server, 4, 2, str(rows)))
        first, *_, last = growing(recipe, tmp_path / "out").parts()
    assert (first.reasons, last.reasons, last.rows, last.parts_in_all) == ({"missing_audio": 1}, first.reasons, 6, 3)


def test_a_source_that_has_become_another_since_is_refused(fake_recipe, write_jsonl, tmp_path):
    with serve(answer) as server:
        recipe = fake_recipe(source=mix_of(server, 6, 4, table(write_jsonl, 6)))
        next(growing(recipe, tmp_path / "out").parts())
        plan = json.loads((tmp_path / "out" / "plan" / "plan.json").read_text())
        # As a dataset of the hub whose branch has moved: nothing but what it holds tells.
        (tmp_path / "out" / "plan" / "plan.json").write_text(json.dumps(plan | {"read": "0" * 64}))
        with pytest.raises(SetupError, match=r"what the source holds has changed since .* was planned"):
            load_or_make(load_recipe(recipe), Store(tmp_path / "out"))


def test_whoever_stops_a_plan_does_not_wait_until_its_sources_are_read(fake_recipe, write_jsonl, tmp_path):
    with serve(answer) as server:
        plan = growing(fake_recipe(source=mix_of(server, 4, 2, table(write_jsonl, 500))), tmp_path / "out")
        plan.stop()
        with pytest.raises(EngineError, match="reading the sources was stopped"):
            next(plan.parts())
        assert [body for body in server.bodies if not is_probe(body)] == []


def test_rows_of_the_same_name_in_two_parts_are_repeats(fake_recipe, tmp_path):
    with serve(answer) as server:
        asked = source(server, 4, 4)
        twice = {"kind": "mix", "parts": [{"source": asked, "weight": 4.0}, {"source": asked, "weight": 1.0}]}
        recipe = fake_recipe(source=twice, clean={"drop_repeats": False})
        plan = load_or_make(load_recipe(recipe), Store(tmp_path / "out"))
    assert len({row.id for unit in plan.units for row in unit}) == plan.rows == 4
    assert plan.reasons == {"repeat": 4}


def test_a_rewriting_goes_in_parts_and_costs_of_each_its_own(fake_recipe, write_jsonl, tmp_path):
    with serve(answer, banned(1, times=99)[0]) as server:
        endpoint = source(server, 1, 1)["endpoint"]
        recipe = fake_recipe(source=table(write_jsonl, 10), rewrite={"endpoint": endpoint, "part": 4})
        plans = list(growing(recipe, tmp_path / "out").parts())
    assert [(len(plan.parts), plan.parts_in_all) for plan in plans] == [(1, 3), (2, 3), (3, 3)]
    assert (plans[-1].rows, plans[-1].reasons) == (9, {"no_answer": 1})
