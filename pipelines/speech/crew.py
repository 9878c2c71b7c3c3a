"""A crew: the engines of one recipe in one process. It makes whole units, and commits them to the dataset itself.

In process there is one crew, on Ray there are many. A crew is given a unit's number and gives back its sidecar: no
audio leaves the process. What a unit becomes depends on its rows and its engines alone.
"""

import asyncio
import contextlib
import dataclasses
import functools
import shutil
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anytalk.pipelines.dataset import StorageError, Store, commit, made_with, schema
from anytalk.pipelines.plan import Plan, PlannedRow, load_committed
from anytalk.pipelines.recipe import Llm, Recipe, sources_of
from anytalk.synth.device import resolve
from anytalk.synth.errors import AnyTalkError, EngineError, SetupError
from anytalk.synth.seed import digest
from anytalk.synth.wording import quantity

from .attempts import ENGINE_ERROR
from .pool import Engines, engines_of, instruction_set
from .reread import EVERY, Reread, moved, reread
from .reword import Reworder, open_reworder, total_usage
from .rows import UnitRows, written_besides
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
        mixed: whether units may be made with other engines and libraries than those that are there.
    """

    dataset: str
    recipe: Recipe
    judgement: int = 0
    speaks: bool = True
    mixed: bool = False


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
        self._version: int | None = None
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

    async def ready(self) -> None:
        """Load the engines, and announce what the units of this crew are made with.

        Raises:
            SetupError: engines are missing, do not know a language of the plan, or are not those that units of the
                dataset were made with; or the device is not there.
        """
        resolve(self.recipe.resources.device)  # first, since a GPU that is not there is missing to all of them
        fingerprints = await fingerprints_of(self.recipe, self.engines)
        if self.recipe.check.listen:
            await self.engines.call("hearing", "require", sorted(languages_of(self.plan, self.recipe)))
        licences = await self.engines.call("voices", "licences")
        found = made_with.made_with_of(self.recipe, fingerprints, await asyncio.to_thread(instruction_set))
        self._version = await asyncio.to_thread(self._join, found, licences)

    def _join(self, found: Mapping[str, Any], licences: Mapping[str, Any]) -> int:
        if self.assignment.judgement and not self.assignment.mixed:
            return made_with.joined(self.store, found)
        return made_with.join(self.store, found, licences, mixed=self.assignment.mixed)

    def _rows(self, number: int) -> list[PlannedRow]:
        """Rows of a unit; the plan may have grown by it since it was read."""
        if number >= len(self.plan.units):
            self._plan = load_committed(self.store, self._plan)
            vars(self).pop("_key", None)
        return self.plan.units[number]

    @functools.cached_property
    def _key(self) -> Callable[[int], str]:
        return unit_keys(self.plan, self.recipe, self.assignment.judgement)

    @functools.cached_property
    def _versions(self) -> dict[int, dict[str, Any]]:
        """What units were made with, by number."""
        return made_with.announced(self.store)

    @functools.cached_property
    def _earlier(self) -> dict[int, list[str]]:
        """Sidecars that were there before this judgement, by unit."""
        return commit.sidecar_paths(self.store)

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
        rows = self._rows(number)
        key = self._key(number)
        if (known := await asyncio.to_thread(commit.sidecar_of, self.store, number, key)) is not None:
            return known  # Somebody else was faster.
        started, engines = time.monotonic(), self.engines.another()
        kept: dict[str, Any] = {}
        self._speaking.add(engines)
        try:
            if self.assignment.judgement == 0:
                assert self._version is not None, "ready() comes first"
                outcome = await self._made(number, rows, engines, failed or {})
                if failed is None:
                    _refuse_broken_engines(outcome, len(rows))
                facts = {"made_with": [self._version], **timings(engines, started)}
            else:
                before = await asyncio.to_thread(self._before, number)
                outcome, moved, kept = await self._judged_again(rows, engines, before)
                facts = {**moved, **self._added(before, outcome.facts | timings(engines, started))}
            sidecar_facts = {**outcome.facts, "judgement": self.assignment.judgement, **facts}
            return await asyncio.to_thread(self._commit, number, key, rows, outcome, sidecar_facts, kept)
        finally:
            self._passing.pop(number, None)
            self._speaking.discard(engines)
            self._spoken += engines.spoken

    async def probe(self, number: int, names: Sequence[str], engines_work: bool = False) -> None:
        """Make some rows of a unit and throw them away, to find out whether they can be made.

        Raises:
            EnginesFailed: `engines_work` was to be found out, and engines failed on most of the rows.
        """
        rows = [row for row in self._rows(number) if row.id in set(names)]
        outcome = await self._made(number, rows, self.engines.another(), {})
        if engines_work:
            _refuse_broken_engines(outcome, len(rows))

    async def _made(
        self, number: int, rows: Sequence[PlannedRow], engines: Engines, failed: Mapping[str, str]
    ) -> UnitRows:
        reworder = self._reworder and self._reworder.another()
        passed = functools.partial(self._passing.__setitem__, number)
        return await make_unit(rows, engines, self.recipe, reworder=reworder, failed=failed, passed=passed)

    def _before(self, number: int) -> dict[str, Any]:
        return commit.latest_sidecar(self.store, self._earlier[number], self.assignment.judgement)

    async def _judged_again(
        self, rows: Sequence[PlannedRow], engines: Engines, before: Mapping[str, Any]
    ) -> tuple[UnitRows, dict[str, int], dict[str, Any]]:
        """Judge what is stored of a unit, and make further attempts where that is wanted.

        Returns:
            What became of the rows, how many of them moved, and the files that stay as they are, by folder.
        """

        async def read(in_full: Collection[str]) -> Reread:
            return await asyncio.to_thread(reread, self.store, before, rows, self.recipe, in_full)

        if not self.assignment.speaks:
            found = await read(())
            if "shards" in found.same:
                return await self._judged_besides(found, before, read)
        found = await read(EVERY)
        attempts = {attempted.row.id: attempted.attempts for attempted in found.rows}
        reworder = self._reworder and self._reworder.another()
        speaks = self.assignment.speaks
        outcome = await make_unit(rows, engines, self.recipe, attempts, speaks=speaks, reworder=reworder)
        return outcome, moved(found.accepted, {row["id"] for row in outcome.accepted}), {}

    async def _judged_besides(
        self, found: Reread, before: Mapping[str, Any], read: Callable[[Collection[str]], Awaitable[Reread]]
    ) -> tuple[UnitRows, dict[str, int], dict[str, Any]]:
        """A unit of which no row moves: its shard stays, and so does each other file in which no verdict changes."""
        changing = sorted(set(EVERY) - found.same)
        rows = (await read(changing)).rows if changing else found.rows
        kept = {file["path"].partition("/")[0]: file for file in before["files"]}
        kept = {folder: file for folder, file in kept.items() if folder in found.same}
        outcome = await asyncio.to_thread(written_besides, rows, changing, before["speech_s"])
        return outcome, moved(found.accepted, found.accepted), kept

    def passing(self) -> Passing:
        """Rows of units under way that are through with all their attempts, and utterances spoken so far."""
        spoken = self._spoken + sum(engines.spoken for engines in self._speaking)
        return Passing(sum(self._passing.values()), spoken)

    def _added(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
        """What a unit took in all, over its judgements, and what it was made with."""
        seconds = {stage: round(old["seconds"][stage] + more, 3) for stage, more in new["seconds"].items()}
        asked = [facts["asked"] for facts in (old, new) if "asked" in facts]
        here = [self._version] if self._version is not None and any(new["seconds"].values()) else []
        return {
            "made_with": list(dict.fromkeys([*old["made_with"], *here])),
            "wall_s": round(old["wall_s"] + new["wall_s"], 3),
            "seconds": seconds,
            **({"asked": total_usage(asked)} if asked else {}),
        }

    def _commit(
        self,
        number: int,
        key: str,
        rows: Sequence[PlannedRow],
        outcome: UnitRows,
        facts: Mapping[str, Any],
        kept: Mapping[str, Any],
    ) -> dict[str, Any]:
        # Those of the engines that made the rows, if others judged them again.
        fingerprints = self._versions[facts["made_with"][0]]["made_with"]["fingerprints"]
        width = fingerprints["features"]["width"] if self.recipe.features.store else None
        tables = {
            "accepted": schema.table(
                outcome.accepted, schema.row_schema(width, fingerprints, self.plan.names_speakers)
            ),
            "rejected": schema.table(outcome.rejected, schema.reject_schema(fingerprints)),
            "attempts": schema.table(outcome.attempts, schema.attempt_schema(fingerprints)),
        }
        batch_rows = self.recipe.shards.batch_rows
        return commit.commit_unit(self.store, number, key, rows[0].split, tables, batch_rows, facts, kept)

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


PRINTED = {"codec": "codec", "features": "hearing", "judges": "judging", "voices": "voices"}
"""Which stage's engine each fingerprint is of."""


async def fingerprints_of(recipe: Recipe, engines: Engines) -> dict[str, Any]:
    """What every model that a build uses is, exactly.

    Raises:
        SetupError: engines are missing; every one of them is named.
    """
    calls = [engines.call(stage, "fingerprint") for stage in engines.pools]
    found = await asyncio.gather(*calls, return_exceptions=True)
    if missing := [str(error) for error in found if isinstance(error, SetupError)]:
        raise SetupError("\n".join(dict.fromkeys(missing)))
    if broken := next((error for error in found if isinstance(error, BaseException)), None):
        raise broken
    of_stage = dict(zip(engines.pools, found, strict=True))
    prints: dict[str, Any] = {name: of_stage[stage] for name, stage in PRINTED.items() if stage in of_stage}
    if recipe.check.listen and recipe.check.recogniser is not None:
        prints["recogniser"] = await engines.call("hearing", "recogniser_fingerprint")
    if recipe.augment is not None:
        # Reads every file of the folders, so one engine does it, once.
        prints["augment"] = await engines.call("voices", "augmentation_fingerprint")
    if recipe.reword is not None:
        prints["reword"] = recipe.reword.fingerprint()
    return prints


def languages_of(plan: Plan, recipe: Recipe) -> set[str]:
    """BCP-47 tags of all rows, also of those that are still to be asked for."""
    asked = () if plan.is_whole else (source for source in sources_of(recipe.source) if isinstance(source, Llm))
    return plan.languages.union(*(source.languages for source in asked))


def unit_keys(plan: Plan, recipe: Recipe, judgement: int = 0) -> Callable[[int], str]:
    """Hashes of all that units' bytes follow from but for what is installed (see `dataset.made_with`), by number.

    The hash of the plan's part stands for the rows, and the number of a judgement for its policy.
    """
    identity = recipe.unit_identity()
    return lambda number: digest(schema.SCHEMA_VERSION, identity, judgement, plan.sha256(number), number)


def timings(engines: Engines, started: float) -> dict[str, Any]:
    """Times of a unit, for its sidecar."""
    return {
        "wall_s": round(time.monotonic() - started, 3),
        "seconds": {stage: round(seconds, 3) for stage, seconds in engines.seconds.items()},
    }
