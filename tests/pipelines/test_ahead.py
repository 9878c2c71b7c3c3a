"""What has come of a language model is spoken while the rest is being asked, whatever ends either."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from support.command_line import anytalk
from support.misbehaving import Fault, is_probe, serve
from support.turns_asked import answer

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store, current_judgement
from anytalk.pipelines.estimate import estimate
from anytalk.pipelines.plan import GrowingPlan, load_committed
from anytalk.pipelines.progress import Quiet
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.units import Units
from anytalk.synth.errors import EngineError


def source(server, conversations=12, part=4):
    endpoint = {"base_url": server.url, "model": "tiny", "backoff_s": 0.001, "attempts": 1, "max_concurrency": 2}
    ask = {"conversations": conversations, "kinds": ["everyday"]}
    return {"kind": "llm", "endpoint": endpoint, "ask": ask, "part": part}


def mixed(server, folder, conversations=12, part=4):
    """Half of it is asked for, and half of it is in a file."""
    rows = [
        {"question": f"Number {n} of the table, please?", "answer": f"Here is number {n}."}
        for n in range(conversations // 2)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts = [{"source": one} for one in (source(server, conversations // 2, part), str(folder / "rows.jsonl"))]
    return {"kind": "mix", "parts": parts}


def contents(folder):
    """Bytes of everything but times: sidecars hold those, and manifest and checksums follow from them."""
    paths = [path for part in ("shards", "rejects", "plan") for path in (folder / part).glob("*.arrow")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in [*paths, folder / "README.md"]}


def asked(server):
    return [json.dumps(body) for body in server.bodies if not is_probe(body)]


def sidecars(out):
    return len(list((out / "units").glob("*.json")))


def wait_for(condition, process=None):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.005)


def after(count, fault):
    """Answer so many conversations, and then misbehave as told."""
    answered = set()

    def decide(_, body):
        if is_probe(body) or body["seed"] in answered:
            return None
        if len(answered) == count:
            return fault(body)
        answered.add(body["seed"])
        return None

    return decide


@pytest.mark.parametrize(("kind", "asked_for"), [("llm", 12), ("mix", 6)])
def test_the_first_unit_is_there_before_the_last_answer(fake_recipe, tmp_path, kind, asked_for):
    out = tmp_path / "out"

    def until_a_unit_is_there(body):
        wait_for(lambda: sidecars(out))

    with serve(answer, after(asked_for // 3, until_a_unit_is_there)) as server:
        wanted = source(server) if kind == "llm" else mixed(server, tmp_path)
        summary = build(fake_recipe(source=wanted), out, local=True)
        server.fault = lambda number, body: None
        build(tmp_path / "fake.yaml", tmp_path / "whole", local=True, **{"resources.units_in_flight": 1})
    assert (summary.rows_accepted, summary.units, summary.complete, summary.well) == (12, 3, True, True)
    assert len(set(asked(server))) == len(asked(server)) == asked_for
    assert contents(out) == contents(tmp_path / "whole")
    assert check(out).problems == []


def test_where_asking_breaks_what_is_planned_is_spoken_and_the_same_command_goes_on(fake_recipe, tmp_path):
    out, down = tmp_path / "out", Fault(502, "broken")
    with serve(answer, after(5, lambda body: down)) as server:
        recipe = fake_recipe(source=source(server))
        with pytest.raises(
            EngineError, match=r"^3 conversations deferred for part 2 of 3, so nothing of it is planned"
        ):
            build(recipe, out, local=True)
        assert sidecars(out) == 1
        assert not (out / "dataset.json").exists()
        with pytest.raises(EngineError, match="part 2 of 3"):
            build(recipe, out, local=True)
        server.fault = lambda number, body: None
        summary = build(recipe, out, local=True)
        build(recipe, tmp_path / "whole", local=True)
    assert (summary.rows_accepted, summary.complete) == (12, True)
    assert contents(out) == contents(tmp_path / "whole")
    assert check(out).problems == []


def test_of_several_parts_of_a_build_one_asks_and_the_others_make_what_is_planned(fake_recipe, tmp_path):
    out, down = tmp_path / "out", Fault(502, "broken")
    with serve(answer, after(4, lambda body: down)) as server:
        recipe = fake_recipe(source=source(server))
        with pytest.raises(EngineError, match="part 2 of 3"):
            build(recipe, out, part="1/2")
        before = len(server.bodies)
        early = build(recipe, out, part="2/2")
        assert len(server.bodies) == before
        assert (early.well, early.complete, early.deferred) == (False, False, ["1 of 3 parts of the plan are there"])
        server.fault = lambda number, body: None
        first = build(recipe, out, part="1/2")
        assert (first.well, first.complete, first.units_there, first.units) == (True, False, 2, 3)
        last = build(recipe, out, part="2/2")
    assert (last.complete, last.rows_accepted) == (True, 12)
    assert check(out).problems == []


def test_a_build_whose_hours_are_over_waits_for_no_answer(fake_recipe, tmp_path):
    never = Fault(stall_s=300.0)
    with serve(answer, after(4, lambda body: never)) as server:
        started = time.monotonic()
        summary = build(
            fake_recipe(source=source(server, conversations=100)),
            tmp_path / "out",
            local=True,
            **{"resources.hours": 3 / 3600},
        )
    assert time.monotonic() - started < 30
    assert (summary.rows_accepted, summary.complete, summary.well) == (4, False, False)
    assert summary.deferred == ["1 of 25 parts of the plan are there"]


def test_whoever_knows_less_of_a_plan_takes_units_of_later_parts_for_its_own(fake_recipe, tmp_path):
    store = Store(tmp_path / "out")
    with serve(answer) as server:
        recipe = load_recipe(fake_recipe(source=source(server)))
        early = next(GrowingPlan(recipe, store, Quiet()).parts())
        units = Units(store, early, current_judgement(store))
        build(recipe, tmp_path / "out", local=True)
    assert (len(early.units), len(units)) == (1, 1)
    assert list(units.committed()) == [0, 1, 2]
    assert (len(units), units.plan.is_whole) == (3, True)


def test_parts_lie_in_an_object_store_as_well(fake_recipe, bucket):
    url = str(bucket)
    with serve(answer, after(5, lambda body: Fault(502, "broken"))) as server:
        recipe = fake_recipe(source=source(server))
        with pytest.raises(EngineError, match="part 2 of 3"):
            build(recipe, url, local=True)
        server.fault = lambda number, body: None
        assert build(recipe, url, local=True).complete
    assert check(url).problems == []


def test_an_estimate_asks_for_no_more_than_its_sample_where_a_plan_is_not_whole(fake_recipe, tmp_path):
    with serve(answer, after(5, lambda body: Fault(502, "broken"))) as server:
        recipe = fake_recipe(source=source(server, conversations=200, part=4))
        with pytest.raises(EngineError, match="part 2 of 50"):
            build(recipe, tmp_path / "out", local=True)
        server.fault = lambda number, body: None
        before = len(server.bodies)
        found = estimate(load_recipe(recipe), str(tmp_path / "out"), rows=2)
    assert (found.planned, found.rows) == (False, 200)
    assert len(server.bodies) - before < 100
    assert len(load_committed(Store(tmp_path / "out")).parts) == 1


# -- Killed


@pytest.fixture
def slow_recipe(fake_sections, tmp_path):
    """Write a recipe whose units take a while."""

    def write(server, kind="llm"):
        wanted = source(server, 24, 8) if kind == "llm" else mixed(server, tmp_path, 48, 16)
        sections = {"source": wanted, "resources": {"units_in_flight": 1, "crews": 1, "cpus": 0.5}}
        sections |= {"shards": {"unit_rows": 2}}
        (tmp_path / "slow.yaml").write_text(yaml.safe_dump(fake_sections | sections))
        return tmp_path / "slow.yaml"

    return write


def start(recipe, out, *more):
    command = [sys.executable, "-m", "anytalk.recipes", "build", str(recipe), "--out", str(out), *more]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def killed_in_part_2(recipe, out, server, *more, rows=24):
    """Kill a build that speaks units of part 1 while it waits for answers of part 2; then let it finish."""
    server.fault = after(12, lambda body: Fault(stall_s=300.0))
    process = start(recipe, out, *more)
    wait_for(lambda: sidecars(out) and len(asked(server)) > 12, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = set(asked(server))
    server.fault = lambda number, body: None
    done = anytalk("build", recipe, "--out", out, *more, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_accepted"] == rows
    again = [body for body in before if asked(server).count(body) > 1]
    assert len(again) <= 2 + 2  # What was under way when it was killed, and what it had not read.
    assert len(set(asked(server))) == 24


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "rows"), [("llm", 24), ("mix", 48)])
def test_a_build_killed_in_its_second_part_goes_on_to_the_same_bytes(slow_recipe, tmp_path, kind, rows):
    with serve(answer) as server:
        recipe = slow_recipe(server, kind)
        killed_in_part_2(recipe, tmp_path / "killed", server, "--local", rows=rows)
        (tmp_path / "anytalk-answers.sqlite").unlink()
        assert anytalk("build", recipe, "--out", tmp_path / "whole", "--local").returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert check(tmp_path / "killed").problems == []


@pytest.mark.slow
@pytest.mark.usefixtures("on_ray")
def test_on_ray_crews_make_units_of_parts_that_are_planned_later(slow_recipe, tmp_path):
    with serve(answer) as server:
        recipe = slow_recipe(server)
        killed_in_part_2(recipe, tmp_path / "killed", server)
        (tmp_path / "anytalk-answers.sqlite").unlink()
        assert anytalk("build", recipe, "--out", tmp_path / "whole", "--local").returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert check(tmp_path / "killed").problems == []


@pytest.mark.slow
def test_ctrl_c_ends_what_is_being_asked(slow_recipe, tmp_path):
    with serve(answer, after(12, lambda body: Fault(stall_s=300.0))) as server:
        out = tmp_path / "out"
        process = start(slow_recipe(server), out, "--local")
        wait_for(lambda: sidecars(out) == 4, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)  # Long before what is being asked is answered.
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
