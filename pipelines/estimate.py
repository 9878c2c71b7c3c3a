"""What a build will take, before it is paid for: its plan, and a few rows of it made and measured."""

import asyncio
import dataclasses
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from anytalk.pipelines.concurrency import run_to_end
from anytalk.pipelines.dataset import PLAN, SIDES, Store, tally
from anytalk.pipelines.plan import (
    Plan,
    PlannedRow,
    commit_sample,
    is_planned,
    load_committed,
    load_or_make,
    pair_s,
    said_s,
    spread,
)
from anytalk.pipelines.recipe import Llm, Recipe, sources_of
from anytalk.pipelines.source import Pair, read_pairs
from anytalk.pipelines.speech import STAGES, Assignment, Crew, costs, utterance_of
from anytalk.synth.device import resolve
from anytalk.synth.errors import SetupError

from .cluster import connected
from .progress import Quiet, Reporter

SAMPLE_ROWS = 24
"""Rows that are made: a third of a minute of two cores with the engines that come with the package."""

SAMPLE_CONVERSATIONS = 12
"""Conversations that language models are asked for, of all that a build will ask for."""

EXAMPLES = 10

BUSY = 0.9
"""Share of the cores that a build keeps busy."""


CONTENTION = 1.5
"""Engine seconds for a second of processor time, where a build has the cores to itself: over 192 rows of the
quickstart, 440 s of calls took 160 s on two cores, so that 2.75 calls at once shared 1.8 cores."""

QUIET = 0.1
"""Share of the cores that other programs may take before what was measured is corrected."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a build will take. All figures are of the whole dataset."""

    dataset: str
    rows: int
    """Rows that will be spoken."""
    rows_rejected: int
    """Rows of the source that cannot be."""
    reasons: dict[str, int]
    """Why, in rows."""
    splits: dict[str, int]
    planned: bool
    """Whether the plan is committed, so that the build goes on from it; else rows are scaled from a part."""
    rows_accepted: int
    """After the checks, at the share of the rows that were made."""
    speech_hours: float
    core_hours: float
    gpu_hours: float
    wall_hours: float
    """On this machine, without loading engines."""
    disk_gib: float
    seconds: dict[str, float]
    """Engine seconds by stage."""
    bottleneck: str
    """The stage that is busiest for the engines that it has."""
    tokens: dict[str, int]
    """What language models will be sent and give back."""
    characters: int
    """What speech servers will be sent."""
    cost: float | None
    """In the currency of the prices; None where there are none."""
    without_price: list[str]
    """What the cost leaves out."""
    resources: dict[str, int]
    """Sizes of pools that suit this machine."""
    cluster: dict[str, float] | None
    """Crews, cores and wall-clock hours on the cluster of RAY_ADDRESS."""
    calibration: dict[str, Any]
    """What was measured: rows, seconds and processor seconds."""
    examples: list[dict[str, Any]]
    """Rows as they will be said."""


@dataclasses.dataclass(frozen=True)
class _Sample:
    """Rows that were made, and what they took."""

    rows: Sequence[PlannedRow]
    sidecars: Sequence[Mapping[str, Any]]
    wall_s: float
    processor_s: float
    engines: dict[str, int]
    others: float
    """Share of the cores that other programs took meanwhile."""


def estimate(recipe: Recipe, out: str, *, rows: int = SAMPLE_ROWS, progress: Reporter | None = None) -> Estimate:
    """Plan a dataset, make a few rows of it in a folder that is thrown away, and tell what all of it will take.

    The plan is committed, and a build goes on from it, unless a language model would have to be paid for the texts:
    then a few conversations are asked for.

    Args:
        recipe: the recipe.
        out: the dataset.
        rows: how many are made.
        progress: who is told how far it is.

    Raises:
        SetupError: the recipe, the source, the folder or an engine is not in order; or no row can be spoken.
        EngineError: the source broke off, or engines fail.
    """
    progress = progress or Quiet()
    with tempfile.TemporaryDirectory() as folder:
        try:
            plan, share, planned = _plan(recipe, Store(out), Path(folder), progress)
            if not plan.rows:
                reasons = ", ".join(f"{reason} {count}" for reason, count in plan.reasons.items())
                raise SetupError(f"no row of the source can be spoken: {reasons or 'it has none'}")
            lengths_s = said_s(plan)
            sample = run_to_end(_made(recipe, plan, lengths_s, rows, Store(Path(folder) / "sample"), progress))
            examples = [_example(row, recipe) for row in spread(plan, lengths_s, EXAMPLES)]
        finally:
            progress.stop()
    return _estimated(recipe, out, plan, share, planned, lengths_s, sample, examples)


def _plan(recipe: Recipe, store: Store, folder: Path, progress: Reporter) -> tuple[Plan, float, bool]:
    """A plan, its share of the whole one, and whether it is that of the dataset."""
    asks = bool(recipe.planning_models())
    if not asks or (store.exists(PLAN) and is_planned(recipe, store) and load_committed(store).is_whole):
        return load_or_make(recipe, store, progress), 1.0, True
    conversations = _conversations(recipe)
    limit = min(conversations, SAMPLE_CONVERSATIONS)
    part = recipe.model_copy(update={"source": recipe.source.model_copy(update={"limit": limit})})
    # With answers of its own: those that are kept from before would not tell how many tokens they took.
    plan = load_or_make(part, Store(folder / "plan"), progress, answers=folder / "answers.sqlite")
    return plan, limit / conversations, False


def _conversations(recipe: Recipe) -> int:
    """How many conversations a source has, without asking a language model."""
    count = 0
    for source in sources_of(recipe.source):
        if isinstance(source, Llm):
            count += source.conversations
        else:
            count += len({(row.split_name, row.conversation) for row in read_pairs(source) if isinstance(row, Pair)})
    return max(1, min(count, recipe.source.limit or count))


async def _made(
    recipe: Recipe, plan: Plan, lengths_s: np.ndarray, count: int, store: Store, progress: Reporter
) -> _Sample:
    """Make some rows as a build would: as many units at once, with all engines loaded and warm."""
    rows = spread(plan, lengths_s, count)
    units = max(1, min(recipe.resources.units_in_flight, len(rows) // 4))
    commit_sample(store, recipe, rows, -(-len(rows) // units))
    progress.phase("loading engines")
    async with Crew(Assignment(str(store), recipe)) as crew:
        await crew.ready()
        await crew.engines.load()
        await crew.probe(0, [rows[0].id])
        numbers = range(len(crew.plan.units))
        progress.start("calibrating", len(rows))
        started, processor_before_s, all_before_s = time.monotonic(), time.process_time(), _all_programs_s()

        async def made(number: int) -> dict[str, Any]:
            sidecar = await crew.make(number)
            progress.advance(crew.plan.units.size(number))
            return sidecar

        sidecars = await asyncio.gather(*map(made, numbers))
        wall_s, processor_s = time.monotonic() - started, time.process_time() - processor_before_s
        others = (_all_programs_s() - all_before_s - processor_s) / (wall_s * (os.cpu_count() or 1))
        engines = {stage: pool.count for stage, pool in crew.engines.pools.items()}
    return _Sample(rows, sidecars, wall_s, processor_s, engines, round(min(1.0, max(0.0, others)), 3))


def _all_programs_s() -> float:
    """Processor time of all programs of this machine since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def _example(row: PlannedRow, recipe: Recipe) -> dict[str, Any]:
    """A row as its first attempt will be."""
    said: dict[str, Any] = {"id": row.id, "split": row.split, "language": row.pair.language}
    for side in SIDES:
        there = side == "question" or row.pair.is_answered
        said[side] = getattr(row.pair, side)
        said[f"{side}_voice"] = utterance_of(row, side, 0, recipe).label() if there else None
    return said


def _estimated(
    recipe: Recipe,
    out: str,
    plan: Plan,
    share: float,
    planned: bool,
    lengths_s: np.ndarray,
    sample: _Sample,
    examples: list[dict[str, Any]],
) -> Estimate:
    made, rows = len(sample.rows), round(plan.rows / share)
    own_s = said_of(sample.rows)
    # Rows that were made may be a little longer or shorter than all are.
    longer = float(lengths_s.mean() / own_s.mean()) if own_s.mean() > 0 else 1.0
    times = rows / made * longer
    accepted = sum(sidecar["accepted"] for sidecar in sample.sidecars)
    seconds = {stage: value * times for stage, value in _undisturbed(recipe, sample).items()}
    loads_s = {stage: seconds[stage] / sample.engines.get(stage, 1) for stage in STAGES}
    core_s = sample.processor_s * times
    wall_s = max(core_s / (cores() * BUSY), *loads_s.values())
    on_gpu = resolve(recipe.resources.device) != "cpu"
    characters = _characters(recipe, sample.rows)
    asked = [*plan.costs, *costs(recipe, sample.sidecars)] if not planned else costs(recipe, sample.sidecars)
    scales = [1 / share] * len(plan.costs) * (not planned) + [times] * len(costs(recipe, sample.sidecars))
    hours = {"core": core_s / 3600, "gpu": wall_s / 3600 if on_gpu else 0.0}
    cost, without = _cost(recipe, asked, scales, {name: n * times for name, n in characters.items()}, hours)
    return Estimate(
        dataset=str(Store(out)),
        rows=rows,
        rows_rejected=round(plan.rejected / share),
        reasons={reason: round(count / share) for reason, count in plan.reasons.items()},
        splits=_splits(plan, share),
        planned=planned,
        rows_accepted=round(rows * accepted / made),
        speech_hours=round(sum(one["speech_s"] for one in sample.sidecars) * times / 3600, 3),
        core_hours=round(hours["core"], 3),
        gpu_hours=round(hours["gpu"], 3),
        wall_hours=round(wall_s / 3600, 3),
        disk_gib=round(_bytes(sample.sidecars) * times / 2**30, 3),
        seconds={stage: round(value, 1) for stage, value in seconds.items()},
        bottleneck=max(loads_s, key=lambda stage: loads_s[stage]),
        tokens={
            name: round(sum(entry[name] * scale for entry, scale in zip(asked, scales, strict=True)))
            for name in ("prompt_tokens", "completion_tokens")
        },
        characters=round(sum(characters.values()) * times),
        cost=cost,
        without_price=without,
        resources=_pools(seconds, on_gpu),
        cluster=_cluster(recipe, core_s, wall_s),
        calibration={
            "rows": made,
            "wall_s": round(sample.wall_s, 2),
            "processor_s": round(sample.processor_s, 2),
            "others": sample.others,
            "attempts": tally.total([one["gates"] for one in sample.sidecars]),
        },
        examples=examples,
    )


def _undisturbed(recipe: Recipe, sample: _Sample) -> dict[str, float]:
    """Engine seconds of the sample, by stage, as they are where no other programs take the cores."""
    found = {stage: float(sum(one["seconds"][stage] for one in sample.sidecars)) for stage in STAGES}
    if sample.others <= QUIET or resolve(recipe.resources.device) != "cpu":
        return found
    # A speech server's time is its own.
    own = [stage for stage in STAGES if stage != "voices" or not _characters(recipe, sample.rows)]
    factor = min(1.0, CONTENTION * sample.processor_s / (sum(found[stage] for stage in own) or 1.0))
    return {stage: value * factor if stage in own else value for stage, value in found.items()}


def said_of(rows: Sequence[PlannedRow]) -> np.ndarray:
    """How long rows would take to say; see `plan.said_s`."""
    return np.array([pair_s(row.pair) for row in rows], np.float32)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _splits(plan: Plan, share: float) -> dict[str, int]:
    found: Counter[str] = Counter()
    for number in range(len(plan.units)):
        rows = plan.units[number]
        found[rows[0].split] += len(rows)
    return {split: round(count / share) for split, count in found.items()}


def _bytes(sidecars: Sequence[Mapping[str, Any]]) -> int:
    return sum(file["bytes"] for sidecar in sidecars for file in sidecar["files"])


def _characters(recipe: Recipe, rows: Sequence[PlannedRow]) -> dict[str, int]:
    """Characters that each speech server is sent, at the first attempt."""
    found: Counter[str] = Counter()
    for row in rows:
        for side in SIDES:
            if side == "answer" and not row.pair.is_answered:
                continue
            utterance = utterance_of(row, side, 0, recipe)
            if utterance.recording is None and utterance.voice.startswith("server:"):
                server = utterance.voice.removeprefix("server:").partition("/")[0]
                found[server] += len(utterance.text)
    return dict(found)


def _cost(
    recipe: Recipe,
    asked: Sequence[Mapping[str, Any]],
    scales: Sequence[float],
    characters: Mapping[str, float],
    hours: Mapping[str, float],
) -> tuple[float | None, list[str]]:
    """What prices of the recipe come to, and what has none."""
    parts: list[float] = []
    without: list[str] = []
    for entry, scale in zip(asked, scales, strict=True):
        if entry["cost"] is None:
            without.append(f"{entry['endpoint']}: endpoint.price_in_per_million and price_out_per_million")
        else:
            parts.append(entry["cost"] * scale)
    for server, count in characters.items():
        key = f"voices.servers.{server}.price_per_million_characters"
        price = recipe.voices.servers[server].price_per_million_characters
        _price(parts, without, key, price, count / 1e6)
    for kind in ("core", "gpu"):
        if hours[kind]:
            key = f"price_per_{kind}_hour"
            _price(parts, without, f"resources.{key}", getattr(recipe.resources, key), hours[kind])
    return (round(sum(parts), 4) if parts else None), without


def _price(parts: list[float], without: list[str], key: str, price: float | None, amount: float) -> None:
    if price is None:
        without.append(key)
    else:
        parts.append(price * amount)


def _pools(seconds: Mapping[str, float], on_gpu: bool) -> dict[str, int]:
    """Engines of each kind so that none of them waits for another while the cores are busy."""
    total = sum(seconds.values()) or 1.0
    fair = {stage: max(1, -int(-cores() * seconds[stage] // total)) for stage in STAGES}
    if on_gpu:
        fair["hearing"] = 1  # One recogniser with batches; several would each hold its weights.
    # One unit more than cores, so that there is always one that waits.
    return fair | {"units_in_flight": max(3, min(cores(), sum(fair.values())) + 1)}


def _cluster(recipe: Recipe, core_s: float, wall_s: float) -> dict[str, float] | None:
    """Crews, cores and hours on the cluster that RAY_ADDRESS names; None without one."""
    if not os.environ.get("RAY_ADDRESS"):
        return None
    from anytalk.pipelines.speech.ray_crews import crews_that_fit, size_of_crew

    with connected():
        size = size_of_crew(recipe.resources)
        crews = crews_that_fit(recipe.resources, size)
    by_core_s = core_s / (crews * size.cpus * BUSY)
    hours = (max(by_core_s, wall_s / crews) if size.gpus else by_core_s) / 3600
    return {"crews": crews, "cores": crews * size.cpus, "gpus": crews * size.gpus, "wall_hours": round(hours, 3)}
