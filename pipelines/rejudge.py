"""Judge a finished dataset again: another policy over the measures that are stored, and not a word spoken.

Rows that fail the policy move to the rejects, and rejects of which an attempt passes it come back, encoded from the
sound that was stored. Where rerolling is asked for, the rows that still fail are spoken again as a build would have
done.

A judgement is committed like a build: it is announced first (see `dataset.policy`), then the dataset is no longer
finished until every unit has a sidecar of this judgement and the manifest is written anew. Whatever kills it, the same
command goes on; a unit's old sidecar and its files stay until all are done.
"""

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anytalk.pipelines.concurrency import run_to_end
from anytalk.pipelines.dataset import (
    PLAN,
    Judgement,
    Sidecars,
    Store,
    announce_judgement,
    commit,
    current_judgement,
    differences,
    made_with,
    may_be_rejudged,
    tally,
)
from anytalk.pipelines.plan import Plan, load_committed, refuse_derived
from anytalk.pipelines.recipe import REJUDGED_KEYS, Recipe, both_sides, resolve
from anytalk.pipelines.speech import (
    Assignment,
    Engines,
    LocalCrews,
    RowAttempts,
    facts_of,
    instruction_set,
    make_units,
    moved,
    open_crews,
    reread,
)
from anytalk.synth.errors import SetupError

from .close import CARD, CHECKSUMS, MANIFEST, REPORT, close
from .progress import Quiet, Reporter


@dataclasses.dataclass(frozen=True)
class Rejudged:
    """What a judgement came to. Rows that the plan rejected were never spoken and are not judged."""

    dataset: str
    applied: bool
    """False where it was only tried."""
    changed: dict[str, Any]
    """What the policy says otherwise than the one before, by key."""
    rows_judged: int
    rows_accepted: int
    rows_rejected: int
    rows_rerolled: int
    rows_deferred: int
    came_back: int
    """Rows that were rejected before and are accepted now."""
    went_out: int
    """Rows that were accepted before and are rejected now."""
    reasons: dict[str, int]
    gates: dict[str, Any]
    """Rows by side, and by the check that their first attempt failed; see `dataset.tally`."""
    open: list[dict[str, Any]]
    """Rejected rows that another attempt within the budget may mend, with reason and value."""
    deferred: list[str]
    """Why units were deferred."""

    @property
    def complete(self) -> bool:
        """Whether every row was judged."""
        return self.rows_deferred == 0


def rejudge(
    dataset: str | Path,
    settings: Mapping[str, object] | None = None,
    *,
    reroll: bool = False,
    dry_run: bool = False,
    local: bool = False,
    mixed: bool = False,
    progress: Reporter | None = None,
) -> Rejudged:
    """Judge the rows of a dataset from their stored measures.

    Args:
        dataset: folder or object-store URL of a finished dataset, or of one whose judging was interrupted.
        settings: of the policy, by dotted key: `check.question.max_wer`, `check.max_wer` for both sides,
            `check.attempts`; `resources` may be set too. Without any, the last policy.
        reroll: speak rows that fail again, up to the budget.
        dry_run: move nothing, say what would come of it.
        local: speak in this process instead of on Ray; without `reroll` nothing needs Ray.
        mixed: speak and encode although the dataset was made with other engines or libraries.
        progress: who is told how far it is.

    Raises:
        SetupError: there is no such dataset, it is unfinished, other keys were set, or an engine that is needed is
            not the one that the dataset was made with; nothing was moved.
    """
    store, progress = Store(dataset), progress or Quiet()
    before, target = _targeted(store, settings, reroll)
    plan, sidecars = load_committed(store), commit.sidecars(store)
    refuse_derived(plan, store)
    commit.refuse_earlier(store, sidecars.values())
    changed = differences(target.recipe, before.recipe)
    if dry_run:
        facts, _ = _tried(plan, sidecars, target.recipe, store, progress)
        return _summarise(store, plan, changed, facts, {}, applied=False)
    try:
        made, deferred = run_to_end(_judge(target, plan, sidecars, store, progress, local=local, mixed=mixed))
    finally:
        progress.stop()
    return _summarise(store, plan, changed, made, deferred, applied=True)


def _targeted(store: Store, settings: Mapping[str, object] | None, reroll: bool) -> tuple[Judgement, Judgement]:
    """The judgement that was announced last, and the one that is wanted, which may be the same."""
    if not store.exists(PLAN):
        raise SetupError(f"{store} holds no anytalk dataset")
    before = current_judgement(store)
    if before.number == 0 and not (store.exists(MANIFEST) and store.exists(CHECKSUMS)):
        raise SetupError(f"{store} holds an unfinished dataset; run anytalk build again, then judge it")
    tree = before.recipe.model_dump(mode="json")
    recipe = resolve(tree, f"of {store}", Recipe, both_sides(settings))
    changed = differences(recipe, before.recipe)
    if other := [key for key in changed if not may_be_rejudged(key)]:
        allowed = ", ".join(f"check.{key}" for key in sorted(REJUDGED_KEYS))
        raise SetupError(
            f"{', '.join(other)} cannot be judged from stored measures; build another dataset. What can: {allowed}"
        )
    if changed or (reroll and not before.rerolls):
        return before, Judgement(before.number + 1, recipe, reroll)
    return before, dataclasses.replace(before, recipe=recipe)


async def _judge(
    target: Judgement,
    plan: Plan,
    sidecars: Sidecars,
    store: Store,
    progress: Reporter,
    *,
    local: bool,
    mixed: bool,
) -> tuple[Sidecars, dict[int, str]]:
    """Judge the units that are not yet of this judgement, and finish the dataset when all are."""
    recipe = target.recipe
    done = sidecars.only({number for number, one in sidecars.items() if one["judgement"] == target.number})
    todo = [number for number in range(len(plan.units)) if number not in done]
    if not todo and _is_finished(target, store):
        return done, {}
    assignment = Assignment(str(store), recipe, target.number, target.rerolls, mixed)
    # What is not spoken needs no cluster.
    on_ray = target.rerolls and not local
    async with open_crews(assignment, progress, local=not on_ray) as crews:
        if todo and (target.rerolls or mixed):
            await crews.ready()
        elif todo and isinstance(crews, LocalCrews):
            await _refuse_other_engines(target, plan, sidecars, store, crews.crew.engines)
        announce_judgement(target, store)
        for path in (CHECKSUMS, MANIFEST, CARD, REPORT):
            store.delete(path)
        made, deferred = await make_units(todo, plan, crews, progress, hours=recipe.resources.hours)
    if not deferred:
        close(target, plan, (done | made).in_order(), store)
        if recipe.report:
            from .report import report  # It imports codecs, which nothing else here needs.

            report(str(store), progress=progress)
    return done | made, deferred


def _is_finished(target: Judgement, store: Store) -> bool:
    if not (store.exists(CHECKSUMS) and store.exists(MANIFEST)):
        return False
    return bool(json.loads(store.read(MANIFEST))["judgement"] == target.number)


async def _refuse_other_engines(
    target: Judgement, plan: Plan, sidecars: Mapping[int, dict[str, Any]], store: Store, engines: Engines
) -> None:
    """Find out, before anything moves, whether rows come back that must be encoded, and with what the dataset was.

    Raises:
        SetupError: an engine that encodes is missing or another; every one of them is named.
    """
    kept = any(file["path"].startswith(("rejects/", "attempts/")) for s in sidecars.values() for file in s["files"])
    # Rows that only move need no engine.
    if not kept or not _tried(plan, sidecars, target.recipe, store, Quiet())[1]:
        return
    asked = {"features": ("hearing", "fingerprint"), "codec": ("codec", "fingerprint")}
    asked = {name: call for name, call in asked.items() if call[0] in engines.pools}
    if target.recipe.augment is not None:
        asked["augment"] = ("voices", "augmentation_fingerprint")
    found = await asyncio.gather(*(engines.call(*call) for call in asked.values()), return_exceptions=True)
    if missing := [str(error) for error in found if isinstance(error, SetupError)]:
        raise SetupError("\n".join(missing))
    if broken := next((error for error in found if isinstance(error, BaseException)), None):
        raise broken
    here = made_with.made_with_of(target.recipe, dict(zip(asked, found, strict=True)), instruction_set())
    for number in sorted(made_with.units_by_version(sidecars.values())):
        theirs = made_with.announced(store)[number]["made_with"]
        encoded = theirs | {"fingerprints": {name: theirs["fingerprints"][name] for name in asked}}
        if encoded != here:
            told = made_with.told_apart(encoded, here)
            raise SetupError(f"{store} was made with {told[0]}, this is {told[1]}: add --mixed, or restore the former")


def _tried(
    plan: Plan, sidecars: Mapping[int, dict[str, Any]], recipe: Recipe, store: Store, progress: Reporter
) -> tuple[dict[int, dict[str, Any]], int]:
    """What a judgement without speaking would come to, as each unit's sidecar would say it, and the rows to encode."""
    found: dict[int, dict[str, Any]] = {}
    to_encode = 0
    progress.start("rows", plan.rows)
    try:
        for number, planned in enumerate(plan.units):
            rows, accepted, _ = reread(store, sidecars[number], planned, recipe, ())
            found[number] = facts_of(rows) | moved(
                accepted, {attempted.row.id for attempted in rows if attempted.reason is None}
            )
            to_encode += sum(attempted.reason is None and not _is_encoded(attempted, recipe) for attempted in rows)
            progress.advance(len(rows))
    finally:
        progress.stop()
    return found, to_encode


def _is_encoded(attempted: RowAttempts, recipe: Recipe) -> bool:
    """Whether the chosen attempts at an accepted row have their features and codes already."""
    question, answer = attempted.chosen("question"), attempted.chosen("answer")
    heard = (question.change or question).heard if question else None
    has_features = not recipe.features.store or (heard is not None and heard.features is not None)
    return has_features and (answer is None or answer.codes is not None)


def _summarise(
    store: Store,
    plan: Plan,
    changed: dict[str, Any],
    facts: Mapping[int, Mapping[str, Any]],
    deferred: Mapping[int, str],
    *,
    applied: bool,
) -> Rejudged:
    units = [facts[number] for number in sorted(facts)]
    accepted, rejected = (sum(unit[name] for unit in units) for name in ("accepted", "rejected"))
    return Rejudged(
        dataset=str(store),
        applied=applied,
        changed=changed,
        rows_judged=accepted + rejected,
        rows_accepted=accepted,
        rows_rejected=rejected,
        rows_rerolled=sum(unit["rerolled"] for unit in units),
        came_back=sum(unit.get("came_back", 0) for unit in units),
        went_out=sum(unit.get("went_out", 0) for unit in units),
        rows_deferred=sum(map(plan.units.size, deferred)),
        reasons=tally.commonest_first(tally.added(unit["reasons"] for unit in units)),
        gates=tally.total([unit["gates"] for unit in units]),
        open=[need for unit in units for need in unit["open"]],
        deferred=list(dict.fromkeys(deferred.values())),
    )
