"""A crew: the engines of one recipe in one process. It makes whole units, and commits them to the dataset itself.

In process there is one crew, on Ray there are many. A crew is given a unit's number and gives back its sidecar: no
audio leaves the process. What a unit becomes depends on its rows and its engines alone.
"""

import asyncio
import contextlib
import dataclasses
import functools
import json
import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anytalk.pipelines.dataset import StorageError, Store, commit, schema
from anytalk.pipelines.plan import Plan, PlannedRow, load_committed
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.device import resolve
from anytalk.synth.errors import AnyTalkError, EngineError, SetupError
from anytalk.synth.seed import digest
from anytalk.synth.wording import quantity

from .attempts import ENGINE_ERROR
from .pool import STAGES, Engines, engines_of, instruction_set
from .reread import moved, read_unit
from .reword import Reworder, open_reworder, total_usage
from .rows import UnitRows
from .unit import make_unit

LEAST_FREE_BYTES = 512 << 20
"""A local disk with less room than this counts as full."""


class Passing(NamedTuple):
    """How far units have come that are not committed yet, and how much a crew has spoken in all."""

    rows: int
    utterances: int


class EnginesFailed(EngineError):
    """Engines failed on most rows of a unit: the machine may be broken, and not the rows."""


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What every crew of a run is told.

    Attributes:
        dataset: folder or URL, with a committed plan.
        recipe: of the dataset.
        judgement: number of the judgement that units are made for; 0 for the build.
        speaks: whether attempts are made; if not, those that are stored are judged again.
        fingerprints: of the engines, as they stand in the dataset; None to take the crew's own.
    """

    dataset: str
    recipe: Recipe
    judgement: int = 0
    speaks: bool = True
    fingerprints: Mapping[str, Any] | None = None


class Crew:
    """Makes units, some of them at once.

    Args:
        assignment: what to make.
        engines: those of the recipe by default.
    """

    def __init__(self, assignment: Assignment, engines: Engines | None = None) -> None:
        self.assignment = assignment
        self.recipe = assignment.recipe
        self.store = Store(assignment.dataset)
        self.engines = engines or engines_of(assignment.recipe)
        self._passing: dict[int, int] = {}
        self._speaking: set[Engines] = set()
        self._spoken = 0
        self._fingerprints = assignment.fingerprints
        self._plan: Plan | None = None
        self._reworder: Reworder | None = None
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Crew":
        self._reworder = await self._open.enter_async_context(
            open_reworder(self.recipe, self.store, speaks=self.assignment.speaks)
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    @property
    def plan(self) -> Plan:
        """The committed plan, read when it is first needed."""
        if self._plan is None:
            self._plan = load_committed(self.store)
        return self._plan

    async def fingerprints(self) -> dict[str, Any]:
        """Load the engines, and say what each of them is, exactly.

        Raises:
            SetupError: engines are missing, do not know a language of the plan, or are not those of the assignment; or
                the device is not there.
        """
        resolve(self.recipe.resources.device)  # first, since a GPU that is not there is missing to all of them
        found = await fingerprints_of(self.recipe, self.engines)
        await self.engines.call("hearing", "require", sorted(self.plan.languages))
        wanted = self.assignment.fingerprints
        if wanted is not None and json.loads(commit.json_bytes(found)) != json.loads(commit.json_bytes(wanted)):
            other = [name for name in found if commit.json_bytes(found[name]) != commit.json_bytes(wanted.get(name))]
            raise SetupError(f"the engines here are not those of the run; other ones are: {', '.join(other)}")
        self._fingerprints = found
        return found

    async def licences(self) -> dict[str, Any]:
        """Licence, source and consent of every voice."""
        licences: dict[str, Any] = await self.engines.call("voices", "licences")
        return licences

    async def make(self, number: int, failed: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Make a unit and commit it.

        Args:
            number: of the unit.
            failed: rows that are rejected as `engine_error` without being made, by id, each with the detail; None for
                a first try, which is not committed where engines fail on most rows.

        Returns:
            Its sidecar; somebody else's, if they were first.

        Raises:
            EnginesFailed: engines failed on most rows at the first try.
            EngineError: the machinery failed, and a later run makes the unit.
            StorageError: the dataset cannot be read or written.
        """
        try:
            return await self._make(number, failed)
        except AnyTalkError:
            raise
        except Exception as error:
            # Nobody knows of what this is: the unit is left for a later run, and the others go on.
            raise EngineError(f"unit {number} failed with {_described(error)}") from error

    async def _make(self, number: int, failed: Mapping[str, str] | None) -> dict[str, Any]:
        self._refuse_full_disk()
        assert self._fingerprints is not None, "fingerprints() comes first"
        rows = self.plan.units[number]
        key = unit_key(rows, self.recipe, self._fingerprints, self.assignment.judgement)
        if (known := await asyncio.to_thread(commit.sidecar_of, self.store, number, key)) is not None:
            return known  # Somebody else was faster.
        started, engines = time.monotonic(), self.engines.another()
        self._speaking.add(engines)
        try:
            if self.assignment.judgement == 0:
                outcome = await self._made(number, rows, engines, failed or {})
                if failed is None:
                    _refuse_broken_engines(outcome, len(rows))
                facts = self._timings(engines, started)
            else:
                before = await asyncio.to_thread(commit.latest_sidecar, self.store, number)
                outcome, moved = await self._judged_again(rows, engines, before)
                facts = {**moved, **_added(before, outcome.facts | self._timings(engines, started))}
            sidecar_facts = {**outcome.facts, "judgement": self.assignment.judgement, **facts}
            return await asyncio.to_thread(self._commit, number, key, rows, outcome, sidecar_facts)
        finally:
            self._passing.pop(number, None)
            self._speaking.discard(engines)
            self._spoken += engines.spoken

    async def probe(self, number: int, names: Sequence[str]) -> None:
        """Make some rows of a unit and throw them away, to find out whether they can be made."""
        rows = [row for row in self.plan.units[number] if row.id in set(names)]
        await self._made(number, rows, self.engines.another(), {})

    async def _made(
        self, number: int, rows: Sequence[PlannedRow], engines: Engines, failed: Mapping[str, str]
    ) -> UnitRows:
        reworder = self._reworder and self._reworder.another()
        passed = functools.partial(self._passing.__setitem__, number)
        return await make_unit(rows, engines, self.recipe, reworder=reworder, failed=failed, passed=passed)

    async def _judged_again(
        self, rows: Sequence[PlannedRow], engines: Engines, before: Mapping[str, Any]
    ) -> tuple[UnitRows, dict[str, int]]:
        """Judge what is stored of a unit, and make further attempts where that is wanted."""
        attempts, accepted = await asyncio.to_thread(read_unit, self.store, before, rows, self.recipe)
        reworder = self._reworder and self._reworder.another()
        speaks = self.assignment.speaks
        outcome = await make_unit(rows, engines, self.recipe, attempts, speaks=speaks, reworder=reworder)
        return outcome, moved(accepted, {row["id"] for row in outcome.accepted})

    def _timings(self, engines: Engines, started: float) -> dict[str, Any]:
        return timings(engines, started, gpus_of(self._fingerprints or {}))

    def passing(self) -> Passing:
        """Rows of units under way that are through with all their attempts, and utterances spoken so far."""
        spoken = self._spoken + sum(engines.spoken for engines in self._speaking)
        return Passing(sum(self._passing.values()), spoken)

    def _commit(
        self, number: int, key: str, rows: Sequence[PlannedRow], outcome: UnitRows, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        fingerprints = self._fingerprints
        assert fingerprints is not None
        width = fingerprints["features"]["width"] if self.recipe.features.store else None
        tables = {
            "accepted": schema.table(outcome.accepted, schema.row_schema(width, fingerprints)),
            "rejected": schema.table(outcome.rejected, schema.reject_schema(fingerprints)),
            "attempts": schema.table(outcome.attempts, schema.attempt_schema(fingerprints)),
        }
        batch_rows = self.recipe.shards.batch_rows
        return commit.commit_unit(self.store, number, key, rows[0].split, tables, batch_rows, facts)

    def _refuse_full_disk(self) -> None:
        """Stop before the disk is full, when every file that is being written would be lost."""
        if not self.store.local:
            return
        free = shutil.disk_usage(self.store.root).free
        if free < LEAST_FREE_BYTES:
            raise StorageError(
                f"the disk of {self.store} has {free >> 20:,} MiB left; {LEAST_FREE_BYTES >> 20} are needed: free some"
            )


def _refuse_broken_engines(outcome: UnitRows, rows: int) -> None:
    """Commit no unit of which most rows met with a failing engine."""
    details = [str(row["detail"]) for row in outcome.rejected if row["reason"] == ENGINE_ERROR]
    if 2 * len(details) > rows:
        raise EnginesFailed(f"engines failed on {len(details)} of {quantity(rows, 'row')} of a unit: {details[0]}")


def _described(error: BaseException) -> str:
    """An unforeseen error in one line, with the place that it comes from."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    line = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return f"{line} ({Path(place.filename).name}:{place.lineno})"


async def fingerprints_of(recipe: Recipe, engines: Engines) -> dict[str, Any]:
    """What every model of a build is, exactly.

    Raises:
        SetupError: engines are missing; every one of them is named.
    """
    calls = [engines.call(stage, "fingerprint") for stage in STAGES]
    found = await asyncio.gather(*calls, return_exceptions=True)
    if missing := [str(error) for error in found if isinstance(error, SetupError)]:
        raise SetupError("\n".join(dict.fromkeys(missing)))
    if broken := next((error for error in found if isinstance(error, BaseException)), None):
        raise broken
    voices, hearing, judging, codec = found
    prints = {"codec": codec, "features": hearing, "judges": judging, "voices": voices}
    if recipe.augment is not None:
        # Reads every file of the folders, so one engine does it, once.
        prints["augment"] = await engines.call("voices", "augmentation_fingerprint")
    if recipe.reword is not None:
        prints["reword"] = recipe.reword.fingerprint()
    return prints


def unit_key(rows: Sequence[PlannedRow], recipe: Recipe, fingerprints: Mapping[str, Any], judgement: int = 0) -> str:
    """Hash of everything that a unit's bytes follow from; the number of a judgement stands for its policy."""
    models = commit.json_bytes(fingerprints)
    # A row's id follows from its written form; what is said for it may change with the rules that write it out, and who
    # says and hears it with its language.
    texts = (part for row in rows for part in (row.id, row.pair.language, row.pair.question, row.pair.answer))
    return digest(schema.SCHEMA_VERSION, recipe.unit_identity(), judgement, models, *texts)


def timings(engines: Engines, started: float, gpus: Sequence[str] = ()) -> dict[str, Any]:
    """Times of a unit, and the processor and GPUs that it was made on, for its sidecar."""
    used = any(engines.seconds.values())
    return {
        "wall_s": round(time.monotonic() - started, 3),
        "seconds": {stage: round(seconds, 3) for stage, seconds in engines.seconds.items()},
        "instruction_sets": [instruction_set()] if used else [],
        **({"gpus": list(gpus)} if used and gpus else {}),
    }


def gpus_of(fingerprints: Mapping[str, Any]) -> list[str]:
    """The kinds of GPU that engines run on, by their fingerprints, which are nested."""
    found = set()
    for name, value in fingerprints.items():
        if isinstance(value, Mapping):
            found.update(gpus_of(value))
        elif name == "device":
            found.add(str(value))
    return sorted(found)


def _added(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What a unit took in all, over its judgements."""
    seconds = {stage: round(old["seconds"][stage] + more, 3) for stage, more in new["seconds"].items()}
    asked = [facts["asked"] for facts in (old, new) if "asked" in facts]
    return {
        "wall_s": round(old["wall_s"] + new["wall_s"], 3),
        "seconds": seconds,
        "instruction_sets": sorted({*old["instruction_sets"], *new["instruction_sets"]}),
        **({"gpus": gpus} if (gpus := sorted({*old.get("gpus", []), *new.get("gpus", [])})) else {}),
        **({"asked": total_usage(asked)} if asked else {}),
    }
