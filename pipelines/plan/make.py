"""Make a plan: read, clean, compare, split, deal to units, commit. A later run with the same recipe loads it."""

import functools
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.concurrency import in_order
from anytalk.pipelines.dataset import (
    PLAN,
    RowWriter,
    Store,
    commit,
    current_judgement,
    differences,
    made_with,
    may_be_rejudged,
    schema,
    tally,
)
from anytalk.pipelines.likeness import evaluation_stamp
from anytalk.pipelines.progress import Quiet, Reporter, counted
from anytalk.pipelines.recipe import Llm, Recipe, Recordings, Rewrite, sources_of
from anytalk.pipelines.source import (
    Attachments,
    BadPair,
    DeferredPair,
    LlmClient,
    Pair,
    SourceRow,
    Stamp,
    cache_of,
    examine,
    llm_pairs,
    read_pairs,
    rewritten,
    stamp,
)
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.fingerprint import file_sha256
from anytalk.synth.wording import quantity

from .arrange import arrange, split_at, split_of
from .clean import Cleaned, clean, reject
from .gather import Conversations, gather
from .plan import PLAN_SCHEMA, PLAN_SCHEMA_WITH_SPEAKERS, Plan, load_committed, row_values
from .similar import reject_similar
from .voices import refuse_unheard, refuse_unspoken

CLEANED_ROWS = 512
"""Rows that a process cleans at once."""

CLEANED_ALONE = 8
"""Times that many that are cleaned before other processes are started."""


def load_or_make(
    recipe: Recipe, store: Store, progress: Reporter | None = None, *, answers: Path | None = None
) -> Plan:
    """Load the plan of this recipe, or make and commit it.

    Until the first unit is committed, the plan of another recipe, or of a source that has changed, is made anew.

    Args:
        recipe: of the dataset.
        store: the dataset.
        progress: who is told how far it is.
        answers: where answers of language models are kept; beside the dataset by default.

    Raises:
        SetupError: the folder holds something else, another recipe's data, or the source has changed since; or a
            language model that is to be asked cannot be.
        EngineError: the source broke off, or language models did not answer everything; nothing is committed.
    """
    if store.exists(PLAN) and not store.files("units") and not is_planned(recipe, store):
        stamp_of(recipe)
        _discard(store)
    if not store.exists(PLAN):
        stamp_of(recipe)  # A missing source is reported before the folder is touched.
        _refuse_foreign(store)
        examine(recipe.models())
        progress = progress or Quiet()
        llm_client = LlmClient(answers or cache_of(store), recipe.seed, progress, recipe.clean.style_tags)
        _make(recipe, store, llm_client, progress)
    announced = json.loads(store.read(PLAN))
    _refuse_other_recipe(recipe, store)
    if [list(entry) for entry in stamp_of(recipe)] != announced["stamp"]:
        raise SetupError(
            f"the source, or what it is compared with, has changed since {store} was planned; build into another folder"
        )
    return load_committed(store)


def is_planned(recipe: Recipe, store: Store) -> bool:
    """Whether the plan is this recipe's, and its source has not changed since."""
    announced = json.loads(store.read(PLAN))
    try:
        planned = current_judgement(store).recipe
    except SetupError:
        return False  # Of another version.
    return not differences(recipe, planned) and [list(entry) for entry in stamp_of(recipe)] == announced["stamp"]


def _discard(store: Store) -> None:
    """Delete a plan of which no unit was made: its announcement first, so that nobody takes what is left for a plan."""
    store.delete(PLAN)
    for path in store.files():
        if _is_of_plan(path):
            store.delete(path)


def _is_of_plan(path: str) -> bool:
    return path.startswith(("plan/", "rejects/plan-"))


def stamp_of(recipe: Recipe) -> list[Stamp]:
    """Stamps of all that the plan follows from: files, folders and URLs."""
    sets = recipe.decontaminate.against if recipe.decontaminate else ()
    earlier = recipe.dedup.against if recipe.dedup else ()
    return [*stamp(recipe.source, recipe.rewrite), *evaluation_stamp(sets, earlier)]


def _refuse_foreign(store: Store) -> None:
    files = [path for path in store.files() if not _is_of_plan(path)]
    if files and not store.exists(PLAN):  # Somebody else may have planned this meanwhile, and begun.
        raise SetupError(f"{store} is not empty and holds no anytalk dataset ({files[0]}); name another folder")


def _refuse_other_recipe(recipe: Recipe, store: Store) -> None:
    changed = differences(recipe, current_judgement(store).recipe)
    if changed and all(may_be_rejudged(key) for key in changed):
        settings = " ".join(f"--set {key}={json.dumps(value)}" for key, value in changed.items())
        raise SetupError(
            f"{store} was judged by another policy; this judges its rows again without speaking them: "
            f"anytalk judge {store} {settings}"
        )
    if changed:
        raise SetupError(
            f"{store} holds data of another recipe (it differs in {', '.join(list(changed)[:5])}); "
            "name another folder or restore the recipe"
        )


def _make(recipe: Recipe, store: Store, llm_client: LlmClient, progress: Reporter) -> None:
    """Read, check, split and order the pairs; commit the plan and what it rejects.

    What it works on lies in a temporary folder, twice the size of the texts; memory holds some 140 bytes a row.
    """
    source_stamp = stamp_of(recipe)
    with tempfile.TemporaryDirectory(prefix="anytalk-") as name:
        folder = Path(name)
        rejects = RowWriter(folder / "rejects.arrow", schema.reject_schema({}), recipe.shards.batch_rows)
        with rejects:
            conversations = _gather(recipe, store, llm_client, folder / "pairs.arrow", rejects, progress)
            removed = reject_similar(conversations, recipe, progress)
            for place, why in removed.items():
                rejects.extend(reject(pair, *why, pair.source) for pair in conversations[place])
            conversations = conversations.without(removed)
            _refuse_unknown_speakers(conversations, recipe)
            splits = _splits(conversations, recipe)
            kinds = list(conversations.kinds(splits))
            refuse_unheard(kinds, recipe)
            refuse_unspoken(kinds, recipe)
            names_speakers = any(kind.names_speaker for _, kind, _, _ in kinds)
            plan_schema = PLAN_SCHEMA_WITH_SPEAKERS if names_speakers else PLAN_SCHEMA
            with RowWriter(folder / "plan.arrow", plan_schema, batch_rows=1024) as rows:
                planned = arrange(conversations, recipe, splits)
                rows.extend(map(row_values, counted(planned, "planning conversations", progress)))
        commit_plan(store, recipe, rows, rejects, source_stamp, llm_client.costs())


def commit_plan(
    store: Store,
    recipe: Recipe,
    rows: RowWriter,
    rejects: RowWriter | None,
    stamp: Sequence[Stamp],
    costs: Sequence[Mapping[str, Any]],
) -> None:
    """Store a plan that was written, and announce it.

    Args:
        store: the dataset.
        recipe: of the dataset.
        rows: in plan order.
        rejects: rows of the source that are not planned; None for none.
        stamp: see `stamp_of`.
        costs: see `LlmClient.costs`.
    """
    files: dict[str, str] = {}
    for path, written in (("plan/plan", rows), ("rejects/plan", rejects)):
        if written is not None and (written.rows or written is rows):
            digest = file_sha256(written.path)
            files[f"{path}-{digest[:16]}.arrow"] = digest
            store.put(f"{path}-{digest[:16]}.arrow", written.path)
    announcement = {
        "recipe": recipe.model_dump(mode="json", exclude={"resources"}),
        "stamp": list(stamp),
        "files": files,
        "rows": rows.rows,
        "rejected": rejects.rows if rejects else 0,
        "reasons": tally.commonest_first(rejects.reasons) if rejects else {},
        "asked": list(costs),
        "libraries": made_with.versions(made_with.PLAN_LIBRARIES),
    }
    store.create(PLAN, commit.json_bytes(announcement))


def _splits(conversations: Conversations, recipe: Recipe) -> list[str]:
    """Split of each conversation; where speakers decide, all are read once more."""
    split = recipe.split
    if split.by == "speaker" or split.held_out_speakers():
        return [split_of(turns, split) for turns in conversations]
    return [split_at(share, split) for share in conversations.shares.tolist()]


def _refuse_unknown_speakers(conversations: Iterable[Iterable[Pair]], recipe: Recipe) -> None:
    """Raise for speakers that are held out and never speak."""
    held_out = recipe.split.held_out_speakers()
    if not held_out:
        return
    known = {name for turns in conversations for pair in turns for name in (pair.question_speaker, pair.answer_speaker)}
    if unknown := sorted(held_out.keys() - known):
        named = sorted(name for name in known if name is not None)
        told = f"the source has: {', '.join(named[:12])}" if named else "the source names no speakers"
        raise SetupError(f"split.held_out_voices: no row has the speaker {unknown[0]!r}; {told}")


def _read(recipe: Recipe, attachments: Attachments, llm_client: LlmClient, progress: Reporter) -> Iterator[SourceRow]:
    """Read the source and have it rewritten."""
    conversations = sum(model.conversations for model in recipe.models() if isinstance(model, Llm))
    if conversations:
        llm_client.begin("asking", min(conversations, recipe.source.limit or conversations))
    rows: Iterator[SourceRow]
    if isinstance(recipe.source, Llm):
        rows = llm_pairs(recipe.source, llm_client, range(recipe.source.conversations))
    else:
        rows = read_pairs(recipe.source, attachments, llm_client, progress)
    return rows if recipe.rewrite is None else rewritten(rows, recipe.rewrite, llm_client)


def _gather(
    recipe: Recipe, store: Store, llm_client: LlmClient, path: Path, rejects: RowWriter, progress: Reporter
) -> Conversations:
    """Read and clean the source, and find its conversations; what cannot be spoken goes to the rejects.

    Raises:
        EngineError: language models did not answer everything.
    """
    attachments, deferred = Attachments(store), list[DeferredPair]()
    # Language models, and who listens to recordings, tell of themselves.
    tells = any(isinstance(model, Llm | Rewrite) for model in recipe.models()) or any(
        isinstance(source, Recordings) and source.transcribe for source in sources_of(recipe.source)
    )

    def cleaned() -> Iterator[Cleaned]:
        rows = _without_deferred(_read(recipe, attachments, llm_client, progress), deferred)
        batches = iter(lambda: list(itertools.islice(rows, CLEANED_ROWS)), [])
        done = 0
        if not tells:
            progress.phase("reading and cleaning rows")
        clean_batch = functools.partial(clean, rules=recipe.clean)
        for batch in in_order(clean_batch, batches, recipe.resources.planning, CLEANED_ALONE):
            done += len(batch.kinds) + len(batch.rejects)
            if not tells:
                progress.phase("reading and cleaning rows", done)
            rejects.extend(batch.rejects)
            yield batch

    try:
        conversations, repeats = gather(cleaned(), path, drop_repeats=recipe.clean.drop_repeats)
    finally:
        llm_client.end()
    attachments.close()
    if deferred:
        raise EngineError(
            f"{quantity(len(deferred), 'conversation')} deferred, so nothing is planned yet "
            f"(the first: {deferred[0].detail}); "
            f"the same command asks for them again, and takes the other answers from {llm_client.cache}"
        )
    rejects.extend(repeats)
    return conversations


def _without_deferred(rows: Iterable[SourceRow], deferred: list[DeferredPair]) -> Iterator[Pair | BadPair]:
    """Put deferred pairs aside."""
    for row in rows:
        if isinstance(row, DeferredPair):
            deferred.append(row)
        else:
            yield row
