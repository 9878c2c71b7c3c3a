"""How far does a build scale? Units a second by number of crews, and what the driver costs, with engines that wait.

Several raylets on this machine stand in for nodes. The voice waits for each text and then says nothing, so that a unit
takes its time and hardly any processor: what is measured is the handing out of units, not this machine. The naive way
is a driver through which all audio passes: it fetches each row's sound, resamples and packs it.
"""

import asyncio
import contextlib
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import typer

from anytalk.pipelines.cluster import connected
from anytalk.pipelines.dataset import ANSWER_RATE_HZ, QUESTION_RATE_HZ, Store
from anytalk.pipelines.plan import Plan, load_or_make
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.speech import Assignment, make_units
from anytalk.pipelines.speech.ray_crews import RayCrews
from anytalk.synth.audio import flac_bytes, resample

from .figures import Figures, compared, describe, figures

EPILOG = "Example:  anytalk bench scale --crews 16"

ROWS, VARIANTS = 64, 8
"""Rows of a unit, and how often each pair is spoken: cleaning pairs is not what is measured."""
SPEECH_S = 3.0
"""Length of an utterance that the naive driver packs."""
STORE_BYTES = 100 << 20


def bench(
    crews: Annotated[int, typer.Option(min=1, help="The most crews; 1, 2, 4, ... are measured.")] = 16,
    nodes: Annotated[int, typer.Option(min=1, help="Raylets that stand in for nodes.")] = 4,
    units: Annotated[int, typer.Option(min=1, help="Units of each crew that are timed.")] = 3,
    unit_s: Annotated[float, typer.Option(min=0.1, help="How long a unit takes, in seconds.")] = 5.0,
    *,
    progress: Reporter,
) -> Figures:
    """Make units that wait with more and more crews, each time after all of them have made one.

    Returns:
        Figures with `value`, rows a second that a driver can serve on one core, `driver_ms_per_row` of processor time,
        `efficiency` by number of crews (units a second, over those of one crew times their number), `units_per_s`
        likewise, `crews_per_node` and `start_s`.
    """
    counts = [2**power for power in range(crews.bit_length()) if 2**power <= crews]
    with tempfile.TemporaryDirectory() as folder, _cluster(nodes, crews):
        recipe = _recipe(Path(folder), sum(counts) * (units + 1), unit_s)
        store = Store(f"{folder}/dataset")
        plan = load_or_make(recipe, store, progress)
        measured = asyncio.run(_scaled(Assignment(str(store), recipe), plan, counts, units, progress))
        with connected():
            bound_s, naive_s = _call_s(), _naive_row_s()
    rates, driver_s_per_row = measured.pop("units_per_s"), measured.pop("driver_s_per_row")
    one = rates[counts[0]]
    return figures(
        "scale",
        "rows a second that the driver serves on one core",
        compared([1 / driver_s_per_row], [1 / naive_s], ROWS / bound_s),
        driver_ms_per_row=round(1000 * driver_s_per_row, 4),
        efficiency={str(count): round(rate / (count * one), 3) for count, rate in rates.items()},
        units_per_s={str(count): round(rate, 3) for count, rate in rates.items()},
        **measured,
    )


@contextlib.contextmanager
def _cluster(nodes: int, crews: int) -> Iterator[None]:
    """Raylets with room for all crews, which the environment names while they run."""
    from ray.cluster_utils import Cluster

    share: dict[str, Any] = {"num_cpus": -(-crews // nodes), "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**share, "include_dashboard": False})
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**share)
        yield
    finally:
        os.environ.pop("RAY_ADDRESS")
        if before is not None:
            os.environ["RAY_ADDRESS"] = before
        cluster.shutdown()


def _recipe(folder: Path, units: int, unit_s: float) -> Recipe:
    """A recipe of so many units, each of which waits so long and accepts nothing."""
    pairs = folder / "pairs.jsonl"
    lines = [{"question": f"Number {n}?", "answer": "Yes."} for n in range(units * ROWS // VARIANTS)]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Recipe.model_validate(
        {
            "name": "scale",
            "source": {"kind": "jsonl", "path": str(pairs)},
            "voices": {"question": [f"fake:wait/{unit_s / ROWS}"], "answer": "fake:eve", "variants": VARIANTS},
            "check": {"attempts": 1, "mos": "fake"},
            "features": {"model": "fake"},
            "codec": {"model": "fake"},
            "shards": {"unit_rows": ROWS},
            "resources": {"crews": 1, "cpus": 1, "units_in_flight": 1},
        }
    )


async def _scaled(
    assignment: Assignment, plan: Plan, counts: list[int], units: int, progress: Reporter
) -> dict[str, Any]:
    """Grow the crews to each count and time their units."""
    waiting = iter(range(len(plan.units)))
    rates, start_s, driver_s = {}, {}, 0.0
    async with RayCrews(assignment, progress) as crews:
        for count in counts:
            progress.phase(f"starting crews, {count} in all")
            started = time.monotonic()
            crews.grow_to(count)
            while len(crews.loaded) < count:
                await asyncio.sleep(0.1)
            await _made(itertools.islice(waiting, count), plan, crews)
            start_s[str(count)] = round(time.monotonic() - started, 1)
            progress.phase(f"timing {count} crews")
            started, driver_s = time.monotonic(), time.process_time()
            await _made(itertools.islice(waiting, count * units), plan, crews)
            driver_s = time.process_time() - driver_s
            rates[count] = count * units / (time.monotonic() - started)
        nodes = await crews.nodes()
    return {
        "units_per_s": rates,
        "driver_s_per_row": driver_s / (counts[-1] * units * ROWS),
        "crews_per_node": sorted(nodes.values(), reverse=True),
        "start_s": start_s,
    }


async def _made(numbers: Iterator[int], plan: Plan, crews: RayCrews) -> None:
    _, deferred = await make_units(list(numbers), plan, crews, Quiet())
    assert not deferred, deferred


def _call_s(calls: int = 200) -> float:
    """Processor time of one call of a Ray actor that does nothing: what a unit costs at least."""

    class Idle:
        def call(self) -> None:
            """Do nothing."""

    actor: Any = ray.remote(num_cpus=0)(Idle).remote()
    ray.get(actor.call.remote())
    started = time.process_time()
    for _ in range(calls):
        ray.get(actor.call.remote())
    return (time.process_time() - started) / calls


def _naive_row_s(rows: int = ROWS) -> float:
    """Processor time of a row whose audio passes the driver."""
    sound = (0.1 * np.random.default_rng(0).standard_normal(int(SPEECH_S * ANSWER_RATE_HZ))).astype(np.float32)
    spoken = [[ray.put(sound), ray.put(sound)] for _ in range(rows)]
    started = time.process_time()
    for pair in spoken:
        question, answer = ray.get(pair)
        flac_bytes(resample(question, ANSWER_RATE_HZ, QUESTION_RATE_HZ), QUESTION_RATE_HZ)
        resample(answer, ANSWER_RATE_HZ, QUESTION_RATE_HZ)
        flac_bytes(answer, ANSWER_RATE_HZ)
    return (time.process_time() - started) / rows


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    linear = ", ".join(f"{count}: {share:.1%}" for count, share in found["efficiency"].items())
    return describe(
        found,
        "a unit costs no more than an empty call of a Ray actor",
        f"driver: {found['driver_ms_per_row']} ms of processor time a row, no audio",
        f"share of linear by crews: {linear}",
        f"crews on each node: {', '.join(map(str, found['crews_per_node']))}",
    )
