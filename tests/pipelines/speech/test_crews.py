"""Crews: nothing that an engine, a crew or a disk does takes the run down, and what is not its fault is not lost."""

import asyncio
import random
import re
import threading
import time

import pyarrow.ipc
import pytest
from support.cluster import crew_processes

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import StorageError, Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.progress import Quiet
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.speech import (
    Assignment,
    Crew,
    CrewLost,
    Engines,
    LocalCrews,
    VoiceEngine,
    engines_of,
    make_units,
)
from anytalk.pipelines.speech.pool import Pool
from anytalk.synth.errors import EngineError, SetupError

WORDS = (
    *("apple", "bread", "chair", "dog", "eagle", "fish", "grass", "house"),
    *("island", "jacket", "kettle", "lemon", "mouse", "night", "onion", "paper"),
)
PAIRS = [{"question": f"What is a {word}?", "answer": f"It is a {word}."} for word in WORDS]


class Raising:
    """An engine whose library raises for some texts, as libraries of others do."""

    def __init__(self, engine, text, error):
        self.engine, self.text, self.error = engine, text, error

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def speak(self, utterances):
        if any(self.text in utterance.text for utterance in utterances):
            raise self.error
        return self.engine.speak(utterances)


class Mortal(LocalCrews):
    """Crews that die of one row, wherever it is made."""

    def __init__(self, crew, deadly, innocent_deaths=0):
        super().__init__(crew)
        self.deadly, self.innocent_deaths, self.deaths = deadly, innocent_deaths, 0

    def _die(self, names):
        if self.deadly in names or self.innocent_deaths > 0:
            self.innocent_deaths -= 1
            self.deaths += 1
            raise CrewLost("killed by signal 11")

    async def make(self, number, failed=None):
        rows = [row for row in self.crew.plan.units[number] if row.id not in (failed or {})]
        self._die([row.id for row in rows])
        return await super().make(number, failed)

    async def probe(self, number, names):
        self._die(names)
        await super().probe(number, names)


def planned(recipe, out):
    loaded = load_recipe(recipe)
    return loaded, load_or_make(loaded, Store(out), Quiet())


def run(loaded, plan, out, wrap=LocalCrews, engines=None, todo=None):
    async def made():
        async with Crew(Assignment(str(out), loaded), engines) as crew:
            await crew.ready()
            crews = wrap(crew)
            todo_ = range(len(plan.units)) if todo is None else todo
            return *await make_units(list(todo_), plan, crews, Quiet()), crews

    return asyncio.run(made())


def rows_of(folder, part):
    tables = [pyarrow.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


def contents(folder):
    files = [path for part in ("shards", "rejects") for path in (folder / part).glob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def raising(loaded, text, error):
    voices = VoiceEngine(loaded.voices.names(), loaded.audio, loaded.voices)
    pools = engines_of(loaded).pools | {"voices": Pool(lambda: Raising(voices, text, error), 1)}
    return Engines(pools)


def test_a_text_on_which_an_engine_raises_is_rejected_and_the_others_are_not(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "whole", local=True)
    loaded, plan = planned(recipe, tmp_path / "out")
    made, deferred, _ = run(
        loaded, plan, tmp_path / "out", engines=raising(loaded, "What is a fish?", ValueError("bad phoneme"))
    )
    assert (len(made), deferred) == (4, {})
    [reject] = rows_of(tmp_path / "out", "rejects")
    assert (reject["question"], reject["reason"]) == ("What is a fish?", "engine_error")
    assert "voices failed on this utterance: ValueError: bad phoneme" in reject["detail"]
    whole = {row["id"]: row for row in rows_of(tmp_path / "whole", "shards")}
    kept = rows_of(tmp_path / "out", "shards")
    assert len(kept) == 15
    assert all(whole[row["id"]] == row for row in kept)


def test_memory_that_is_too_small_for_one_utterance_defers_its_unit(fake_recipe, write_jsonl, tmp_path):
    loaded, plan = planned(fake_recipe(source=str(write_jsonl(PAIRS))), tmp_path / "out")
    made, deferred, _ = run(loaded, plan, tmp_path / "out", engines=raising(loaded, "What is a fish?", MemoryError()))
    assert len(made) == 3
    assert [why for why in deferred.values() if "ran out of memory on one utterance" in why] == list(deferred.values())
    assert len(deferred) == 1


@pytest.mark.parametrize("innocent_deaths", [0, 3])
def test_a_row_that_crews_die_of_is_found_and_rejected_alone(fake_recipe, write_jsonl, tmp_path, innocent_deaths):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    loaded, plan = planned(recipe, tmp_path / "out")
    deadly = plan.units[1][2].id
    made, deferred, crews = run(loaded, plan, tmp_path / "out", wrap=lambda crew: Mortal(crew, deadly, innocent_deaths))
    assert (len(made), deferred) == (4, {})
    [reject] = rows_of(tmp_path / "out", "rejects")
    assert (reject["id"], reject["reason"]) == (deadly, "engine_error")
    assert "killed by signal 11" in reject["detail"]
    assert len(rows_of(tmp_path / "out", "shards")) == 15
    assert crews.deaths <= 9 + innocent_deaths


def test_crews_that_die_of_nothing_in_particular_cost_no_row(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "whole", local=True)
    loaded, plan = planned(recipe, tmp_path / "out")
    made, deferred, _ = run(loaded, plan, tmp_path / "out", wrap=lambda crew: Mortal(crew, "nobody", 7))
    assert (len(made), deferred) == (4, {})
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("unit_rows", [2, 4])
def test_engines_that_fail_on_every_row_stop_the_run_and_no_row_is_rejected_for_it(
    fake_recipe, write_jsonl, tmp_path, unit_rows
):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), shards={"unit_rows": unit_rows})
    loaded, plan = planned(recipe, tmp_path / "out")
    broken = raising(loaded, "What is", RuntimeError("CUDA error: an illegal memory access was encountered"))
    made, deferred, _ = run(loaded, plan, tmp_path / "out", engines=broken)
    assert made == {}
    assert sorted(deferred) == list(range(16 // unit_rows))
    assert all("illegal memory access" in why for why in deferred.values())
    assert not list((tmp_path / "out").glob("rejects/*"))
    assert build(recipe, tmp_path / "out", local=True).rows_accepted == 16


def test_a_unit_of_rows_that_an_engine_raises_on_is_committed_when_others_could_be_made(
    fake_recipe, write_jsonl, tmp_path
):
    loaded, plan = planned(fake_recipe(source=str(write_jsonl(PAIRS)), shards={"unit_rows": 1}), tmp_path / "out")
    engines = raising(loaded, "What is a fish?", ValueError("bad phoneme"))
    made, deferred, _ = run(loaded, plan, tmp_path / "out", engines=engines)
    assert (len(made), deferred) == (16, {})
    assert [row["reason"] for row in rows_of(tmp_path / "out", "rejects")] == ["engine_error"]


def test_when_only_such_a_unit_is_left_another_one_shows_whether_engines_work(fake_recipe, write_jsonl, tmp_path):
    loaded, plan = planned(fake_recipe(source=str(write_jsonl(PAIRS)), shards={"unit_rows": 1}), tmp_path / "out")
    [left] = [number for number, [row] in enumerate(plan.units) if row.pair.question == "What is a fish?"]
    broken = raising(loaded, "What is", RuntimeError("CUDA error"))
    made, deferred, _ = run(loaded, plan, tmp_path / "out", engines=broken, todo=[left])
    assert (made, list(deferred)) == ({}, [left])
    sound = raising(loaded, "What is a fish?", ValueError("bad phoneme"))
    made, deferred, _ = run(loaded, plan, tmp_path / "out", engines=sound, todo=[left])
    assert (list(made), deferred) == ([left], {})


def test_an_error_that_nobody_knows_of_defers_its_unit_in_one_line(fake_recipe, write_jsonl, tmp_path):
    loaded, plan = planned(fake_recipe(source=str(write_jsonl(PAIRS))), tmp_path / "out")

    async def made():
        async with Crew(Assignment(str(tmp_path / "out"), loaded)) as crew:
            await crew.ready()
            real, crew._commit = crew._commit, lambda number, *rest: {}[number] if number == 2 else real(number, *rest)
            return await make_units(range(4), plan, LocalCrews(crew), Quiet())

    done, deferred = asyncio.run(made())
    assert sorted(done) == [0, 1, 3]
    assert re.fullmatch(r"unit 2 failed with KeyError: 2 \(test_crews.py:\d+\)", deferred[2])


class Refusing(LocalCrews):
    """Crews that turn out to be of another kind when one of them is asked."""

    async def make(self, number, failed=None):
        await asyncio.sleep(0.01 * number)
        raise SetupError(f"crew {number} has other engines")


def test_a_refusal_of_a_crew_comes_out_as_it_is(fake_recipe, write_jsonl, tmp_path):
    loaded, plan = planned(fake_recipe(source=str(write_jsonl(PAIRS))), tmp_path / "out")
    with pytest.raises(SetupError, match=r"^crew 0 has other engines$"):
        run(loaded, plan, tmp_path / "out", wrap=Refusing)


class Failing(LocalCrews):
    """Crews whose machinery fails at every unit."""

    def __init__(self, crew, error):
        super().__init__(crew)
        self.slots, self.error, self.tries = 1, error, 0

    async def make(self, number, failed=None):
        self.tries += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "tries"), [(StorageError("no space left"), 1), (EngineError("http://localhost/v1 is down"), 5)]
)
def test_what_will_not_mend_stops_the_run_and_all_that_is_left_is_deferred(
    fake_recipe, write_jsonl, tmp_path, error, tries
):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), shards={"unit_rows": 2})
    loaded, plan = planned(recipe, tmp_path / "out")
    made, deferred, crews = run(loaded, plan, tmp_path / "out", wrap=lambda crew: Failing(crew, error))
    assert made == {}
    assert sorted(deferred) == list(range(8))
    assert crews.tries == tries
    assert all(str(error) in why for why in deferred.values())


def test_a_run_ends_when_its_time_is_over_and_the_next_one_goes_on(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    summary = build(recipe, tmp_path / "out", local=True, **{"resources.hours": 1e-9})
    assert (summary.rows_deferred, summary.complete) == (16, False)
    assert summary.deferred == ["resources.hours (1e-09) are over"]
    assert build(recipe, tmp_path / "out", local=True).complete
    assert check(tmp_path / "out").problems == []


@pytest.mark.slow
def test_crews_that_are_killed_are_replaced_and_the_bytes_are_the_same(
    fake_recipe, write_jsonl, tmp_path, on_ray, ray_address
):
    pairs = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(80)]
    recipe = fake_recipe(source=str(write_jsonl(pairs)), shards={"unit_rows": 2})
    build(recipe, tmp_path / "whole", local=True)
    ended, killed = threading.Event(), []

    def kill_some():
        draw = random.Random(7)
        while not ended.wait(draw.uniform(0.05, 0.4)):
            crews = crew_processes(ray_address)
            made = list((tmp_path / "out" / "units").glob("*.json"))
            # Once work is under way, and no more often than a person would believe.
            if crews and made and len(killed) < 2:
                crew = draw.choice(crews)
                crew.kill()
                killed.append(crew.pid)
                time.sleep(0.5)

    killer = threading.Thread(target=kill_some)
    killer.start()
    try:
        summary = build(recipe, tmp_path / "out", **{"resources.crews": 2, "resources.cpus": 0.5})
    finally:
        ended.set()
        killer.join()
    assert killed
    assert (summary.complete, summary.rows_accepted) == (True, 80)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert check(tmp_path / "out").problems == []
