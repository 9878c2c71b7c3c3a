"""Make a plan: read, clean, compare, split, deal to units, commit. A later run with the same recipe loads it."""

import json
from collections.abc import Iterable, Iterator

from anytalk.pipelines.dataset import (
    PLAN,
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
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.pipelines.recipe import Llm, Recipe, Rewrite
from anytalk.pipelines.source import (
    Attachments,
    BadPair,
    DeferredPair,
    LlmClient,
    Pair,
    SourceRow,
    cache_of,
    examine,
    read_pairs,
    rewritten,
    stamp,
)
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.fingerprint import sha256
from anytalk.synth.wording import quantity

from .arrange import arrange, split_of
from .clean import clean, reject
from .plan import Plan, load_committed, plan_table
from .similar import reject_similar
from .voices import refuse_unheard, refuse_unspoken


def load_or_make(recipe: Recipe, store: Store, progress: Reporter | None = None) -> Plan:
    """Load the plan of this recipe, or make and commit it.

    Until the first unit is committed, the plan of another recipe, or of a source that has changed, is made anew.

    Raises:
        SetupError: the folder holds something else, another recipe's data, or the source has changed since; or a
            language model that is to be asked cannot be.
        EngineError: the source broke off, or language models did not answer everything; nothing is committed.
    """
    if store.exists(PLAN) and not store.files("units") and not _is_planned(recipe, store):
        _stamp(recipe)
        _discard(store)
    if not store.exists(PLAN):
        _stamp(recipe)  # A missing source is reported before the folder is touched.
        _refuse_foreign(store)
        examine(recipe.models())
        progress = progress or Quiet()
        _make(recipe, store, LlmClient(cache_of(store), recipe.seed, progress), progress)
    announced = json.loads(store.read(PLAN))
    _refuse_other_recipe(recipe, store)
    if [list(entry) for entry in _stamp(recipe)] != announced["stamp"]:
        raise SetupError(
            f"the source, or what it is compared with, has changed since {store} was planned; build into another folder"
        )
    return load_committed(store)


def _is_planned(recipe: Recipe, store: Store) -> bool:
    """Whether the plan is this recipe's, and its source has not changed since."""
    announced = json.loads(store.read(PLAN))
    try:
        planned = current_judgement(store).recipe
    except SetupError:
        return False  # Of another version.
    return not differences(recipe, planned) and [list(entry) for entry in _stamp(recipe)] == announced["stamp"]


def _discard(store: Store) -> None:
    """Delete a plan of which no unit was made: its announcement first, so that nobody takes what is left for a plan."""
    store.delete(PLAN)
    for path in store.files():
        if _is_of_plan(path):
            store.delete(path)


def _is_of_plan(path: str) -> bool:
    return path.startswith(("plan/", "rejects/plan-"))


def _stamp(recipe: Recipe) -> list[tuple[str, int, int]]:
    """Path, size and time of every local file that the plan follows from."""
    sets = recipe.decontaminate.against if recipe.decontaminate else ()
    earlier = recipe.dedup.against if recipe.dedup else ()
    return stamp(recipe.source, recipe.rewrite) + evaluation_stamp(sets, earlier)


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
    """Read, check, split and order the pairs; commit the plan and what it rejects."""
    source_stamp = _stamp(recipe)
    attachments, deferred = Attachments(store), list[DeferredPair]()
    try:
        rows_read = _counted(_read(recipe, attachments, llm_client), recipe, progress)
        conversations, rejects = clean(_without_deferred(rows_read, deferred), recipe.clean)
    finally:
        llm_client.end()
    attachments.close()
    if deferred:
        raise EngineError(
            f"{quantity(len(deferred), 'conversation')} deferred, so nothing is planned yet "
            f"(the first: {deferred[0].detail}); "
            f"the same command asks for them again, and takes the other answers from {llm_client.cache}"
        )
    if recipe.dedup is not None or recipe.decontaminate is not None:
        progress.phase("comparing conversations", len(conversations))
    removed = reject_similar(conversations, recipe)
    rejects += [reject(pair, *removed[place], pair.source) for place in removed for pair in conversations[place]]
    conversations = [turns for place, turns in enumerate(conversations) if place not in removed]
    progress.phase("planning conversations", len(conversations))
    _refuse_unknown_speakers(conversations, recipe)
    refuse_unheard((pair for turns in conversations for pair in turns), recipe)
    refuse_unspoken(((split_of(turns, recipe.split), pair) for turns in conversations for pair in turns), recipe)
    rows = list(arrange(conversations, recipe))
    files: dict[str, str] = {}
    content = commit.arrow_bytes(plan_table(rows), batch_rows=1024)
    files[f"plan/plan-{sha256(content)[:16]}.arrow"] = sha256(content)
    store.write(next(iter(files)), content)
    if rejects:
        content = commit.arrow_bytes(schema.table(rejects, schema.reject_schema({})), recipe.shards.batch_rows)
        path = f"rejects/plan-{sha256(content)[:16]}.arrow"
        files[path] = sha256(content)
        store.write(path, content)
    announcement = {
        "recipe": recipe.model_dump(mode="json", exclude={"resources"}),
        "stamp": source_stamp,
        "files": files,
        "rows": len(rows),
        "rejected": len(rejects),
        "reasons": tally.counted(row["reason"] for row in rejects),
        "asked": llm_client.costs(),
        "libraries": made_with.versions(made_with.PLAN_LIBRARIES),
    }
    store.create(PLAN, commit.json_bytes(announcement))


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


def _read(recipe: Recipe, attachments: Attachments, llm_client: LlmClient) -> Iterator[SourceRow]:
    """Read the source and have it rewritten."""
    conversations = sum(model.conversations for model in recipe.models() if isinstance(model, Llm))
    if conversations:
        llm_client.begin("asking", min(conversations, recipe.source.limit or conversations))
    rows = read_pairs(recipe.source, attachments, llm_client)
    return rows if recipe.rewrite is None else rewritten(rows, recipe.rewrite, llm_client)


def _counted(rows: Iterable[SourceRow], recipe: Recipe, progress: Reporter) -> Iterator[SourceRow]:
    """Tell how many rows were read. Language models tell of themselves."""
    asks = any(isinstance(model, Llm | Rewrite) for model in recipe.models())
    if not asks:
        progress.phase("reading and cleaning rows")
    for number, row in enumerate(rows, start=1):
        if not asks:
            progress.phase("reading and cleaning rows", number)
        yield row


def _without_deferred(rows: Iterable[SourceRow], deferred: list[DeferredPair]) -> Iterator[Pair | BadPair]:
    """Put deferred pairs aside."""
    for row in rows:
        if isinstance(row, DeferredPair):
            deferred.append(row)
        else:
            yield row
