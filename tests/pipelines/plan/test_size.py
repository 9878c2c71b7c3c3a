"""Plans of any size: the same bytes however many processes clean, what plain Python would find, and little memory."""

import json
import os
import random
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from anytalk.pipelines.concurrency.processes import in_order
from anytalk.pipelines.dataset import Store, arrow_bytes
from anytalk.pipelines.plan import PLAN_SCHEMA, load_committed, load_or_make, make
from anytalk.pipelines.plan.clean import FACTS, Cleaned, Kind, clean
from anytalk.pipelines.plan.gather import gather
from anytalk.pipelines.plan.make import CLEANED_ROWS
from anytalk.pipelines.recipe import Clean, load_recipe
from anytalk.pipelines.source import Pair
from anytalk.recipes.shipped import find
from anytalk.synth.errors import EngineError
from anytalk.synth.fingerprint import sha256
from anytalk.synth.seed import digest


def rows_of(count, seed=0):
    """Rows of conversations whose turns come in any order, some twice, some with the words of others."""
    rng = random.Random(seed)
    return [
        {
            "conversation": f"talk {rng.randrange(count // 3)}",
            "turn": rng.randrange(3),
            "question": f"What is {rng.choice('abcd')}?",
            "answer": f"It is {rng.choice('ab')}." if rng.random() < 0.95 else "...",
        }
        for _ in range(count)
    ]


def found_plainly(rows):
    """Ids of the rows that stay and (source, detail) of repeats, as a loop over dictionaries finds them."""
    talks = {}
    for number, row in enumerate(rows, start=1):
        if row["answer"] != "...":
            talks.setdefault(row["conversation"], []).append(row | {"source": f"pairs.jsonl:{number}"})
    kept, repeats, seen = [], [], {}
    for turns in talks.values():
        numbers = {}
        for row in turns:
            if row["turn"] in numbers:
                known = numbers[row["turn"]]["source"]
                repeats.append((row["source"], f"turn {row['turn']} is at {known} already"))
            else:
                numbers[row["turn"]] = row
        ordered = [numbers[turn] for turn in sorted(numbers)]
        said = tuple((row["question"], row["answer"]) for row in ordered)
        if said in seen:
            repeats += [(row["source"], f"the same as {seen[said]}") for row in ordered]
        else:
            seen[said] = ordered[0]["source"]
            kept += [row["source"] for row in ordered]
    return kept, repeats


def rejects_of(store):
    import pyarrow as pa

    [path] = store.files("rejects")
    return pa.ipc.open_file(store.full(path)).read_all().to_pylist()


def test_what_stays_and_what_repeats_is_what_plain_python_finds(fake_recipe, write_jsonl, tmp_path):
    rows = rows_of(3000)
    store = Store(tmp_path / "out")
    plan = load_or_make(load_recipe(fake_recipe(source=str(write_jsonl(rows)))), store)
    kept, repeats = found_plainly(rows)
    assert [row.pair.source for unit in plan.units for row in unit] == kept
    rejects = rejects_of(store)
    assert [(row["source"], row["detail"]) for row in rejects if row["reason"] == "repeat"] == repeats
    assert len(rejects) == plan.rejected == len(rows) - len(kept)
    assert plan.reasons == {"repeat": len(repeats), "unspeakable_text": sum(row["answer"] == "..." for row in rows)}


def test_a_plan_is_the_same_however_many_processes_clean(fake_recipe, write_jsonl, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "CLEANED_ROWS", 16)
    monkeypatch.setattr(make, "CLEANED_ALONE", 1)
    recipe = fake_recipe(source=str(write_jsonl(rows_of(400))), split={"test": 0.2})
    files = []
    for workers in (1, 2):
        store = Store(tmp_path / str(workers))
        load_or_make(load_recipe(recipe, {"resources.planning": workers}), store)
        files.append(json.loads(store.read("plan/plan.json"))["files"])
    assert files[0] == files[1]


def test_the_plan_of_the_quickstart_is_what_it_was(tmp_path):
    """A change of it makes every dataset of the quickstart another one: change this hash only where that is meant."""
    plan = load_or_make(load_recipe(find("quickstart", "build")), Store(tmp_path / "out"))
    assert plan.parts[0].sha256 == "d4bc346d70a1a7dad2d005f9540f24206478c14e7edd81bac26e7e38a46b528f"


def cleaned_rows(count):
    """So many cleaned rows, in batches, of which most are the same and all have names and contents of their own."""
    rng = np.random.default_rng(0)
    pair = Pair("set", "c", 0, "Where is the lamp of the garden?", "It is in the kitchen.", "en")
    kind = Kind("en", True, True, False)
    pairs = clean([pair] * CLEANED_ROWS, Clean()).pairs
    for _ in range(count // CLEANED_ROWS):
        facts = np.zeros(CLEANED_ROWS, FACTS)
        for name in ("conversation", "content"):
            facts[name] = rng.integers(2**63, size=(CLEANED_ROWS, 2))
        facts["share"] = rng.random(CLEANED_ROWS)
        yield Cleaned(pairs, facts, [kind] * CLEANED_ROWS, [])


def peak_bytes(action):
    """Most that an action holds at once, numpy's arrays included."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SIZES = (10 * CLEANED_ROWS, 60 * CLEANED_ROWS)


def growth(peaks):
    """Bytes that one row more takes."""
    return (peaks[1] - peaks[0]) / (SIZES[1] - SIZES[0])


def test_a_row_more_takes_two_hundred_bytes_while_conversations_are_gathered(tmp_path):
    list(cleaned_rows(CLEANED_ROWS))  # What is loaded once is no row's.
    peaks = [
        peak_bytes(lambda count=count: gather(cleaned_rows(count), tmp_path / "pairs.arrow", drop_repeats=True))
        for count in SIZES
    ]
    assert 100 < growth(peaks) < 250


def test_a_row_more_takes_hardly_anything_of_a_plan_that_is_loaded(tmp_path):
    peaks = []
    for count in SIZES:
        store = Store(tmp_path / str(count))
        rows = {name: ["It is in the kitchen."] * count for name in ("question", "answer")}
        rows |= {"unit": np.arange(count, dtype=np.int32) // 64, "language": ["en"] * count}
        columns = [rows.get(field.name, pa.nulls(count, field.type)) for field in PLAN_SCHEMA]
        content = arrow_bytes(pa.table(columns, schema=PLAN_SCHEMA), 1024)
        store.write("plan/plan-1.arrow", content)
        told = {"files": {"plan/plan-1.arrow": sha256(content)}, "rejected": 0, "reasons": {}}
        store.write("plan/plan.json", json.dumps(told).encode())
        load_committed(store)
        peaks.append(peak_bytes(lambda store=store: load_committed(store).units.row(0)))
    # Arrow's own memory is not counted; what it holds of a plan are views.
    assert growth(peaks) < 5


def test_an_empty_plan_is_a_plan(fake_recipe, write_jsonl, tmp_path):
    plan = load_or_make(load_recipe(fake_recipe(source=str(write_jsonl([{"question": "..."}])))), Store(tmp_path / "o"))
    assert (plan.rows, plan.rejected) == (0, 1)


def test_results_come_in_order_and_a_killed_process_is_told():
    assert list(in_order(np.sqrt, [1, 4, 9, 16, 25], 2, alone=1)) == [1, 2, 3, 4, 5]
    with pytest.raises(EngineError, match=r"one of 2 processes was killed"):
        list(in_order(os._exit, [3, 3], 2))


SCRIPT = """
from anytalk.pipelines.concurrency.processes import in_order
from anytalk.synth.seed import digest
print("once")
print("".join(in_order(digest, ["a", "b", "c"], 2)))
"""


@pytest.mark.slow
def test_a_script_needs_no_guard_to_use_processes(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "".join(map(digest, "abc"))]
