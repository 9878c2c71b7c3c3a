"""Make a plan, or a part of one: read, clean, compare, split, deal to units, commit."""

import functools
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.concurrency import in_order
from anytalk.pipelines.dataset import (
    RowWriter,
    Store,
    commit,
    made_with,
    schema,
    tally,
)
from anytalk.pipelines.likeness import evaluation_stamp
from anytalk.pipelines.progress import Reporter, counted
from anytalk.pipelines.recipe import Recipe, Recordings, sources_of
from anytalk.pipelines.source import (
    Attachments,
    BadPair,
    DeferredPair,
    LlmClient,
    Pair,
    SourceRow,
    Stamp,
    read_pairs,
    rewritten,
    stamp,
)
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.fingerprint import file_sha256
from anytalk.synth.wording import quantity

from .arrange import arrange, split_at, split_of
from .clean import Cleaned, clean, reject
from .earlier import Earlier
from .gather import Conversations, gather
from .plan import PLAN_SCHEMA, PLAN_SCHEMA_WITH_SPEAKERS, part_path, row_values
from .stock import Stock
from .voices import refuse_unheard, refuse_unspoken

CLEANED_ROWS = 512
"""Rows that a process cleans at once."""

CLEANED_ALONE = 8
"""Times that many that are cleaned before other processes are started."""


def stamp_of(recipe: Recipe) -> list[Stamp]:
    """Stamps of all that the plan follows from: files, folders and URLs."""
    sets = recipe.decontaminate.against if recipe.decontaminate else ()
    earlier = recipe.dedup.against if recipe.dedup else ()
    return [*stamp(recipe.source, recipe.rewrite), *evaluation_stamp(sets, earlier)]


def make_part(
    recipe: Recipe,
    store: Store,
    number: int,
    earlier: Earlier,
    llm_client: LlmClient,
    progress: Reporter,
    stock: Stock | None = None,
) -> None:
    """Read, check, split and order the pairs of a part of a plan; commit it and what it rejects.

    What it works on lies in a temporary folder, twice the size of the texts; memory holds some 100 bytes a row.

    Args:
        recipe: of the dataset.
        store: the dataset.
        number: of the part.
        earlier: what the parts before it kept, which stays in any case.
        llm_client: asks language models.
        progress: who is told how far it is.
        stock: what the parts are dealt; None for one part of a source that is read as it is cleaned.

    Raises:
        SetupError: the source or what it is compared with is not in order, or no voice or recogniser knows a language.
        EngineError: the source broke off, or language models did not answer everything; nothing is committed.
    """
    source_stamp = stamp_of(recipe)
    with tempfile.TemporaryDirectory(prefix="anytalk-") as name:
        folder = Path(name)
        rejects = RowWriter(folder / "rejects.arrow", schema.reject_schema({}), recipe.shards.batch_rows)
        with rejects:
            attachments = Attachments(store)
            if stock is None:
                source_rows = read_pairs(recipe.source, attachments, progress)
            else:
                rejects.extend(stock.rejects() if number == 0 else ())
                source_rows = stock.rows(number, llm_client)
            if recipe.rewrite is not None:
                source_rows = rewritten(source_rows, recipe.rewrite, llm_client)
            conversations = _gather(source_rows, recipe, llm_client, folder / "pairs.arrow", rejects, progress)
            attachments.close()
            for find in (earlier.repeated, functools.partial(earlier.similar, progress=progress)):
                removed = find(conversations)
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
                planned = arrange(conversations, recipe, splits, earlier.units)
                rows.extend(map(row_values, counted(planned, "planning conversations", progress)))
        commit_plan(store, recipe, rows, rejects, source_stamp, llm_client.costs(), number, stock)


def commit_plan(
    store: Store,
    recipe: Recipe,
    rows: RowWriter,
    rejects: RowWriter | None,
    stamp: Sequence[Stamp],
    costs: Sequence[Mapping[str, Any]],
    number: int = 0,
    stock: Stock | None = None,
) -> None:
    """Store a plan that was written, or a part of it, and announce it.

    Args:
        store: the dataset.
        recipe: of the dataset.
        rows: in plan order.
        rejects: rows of the source that are not planned; None for none.
        stamp: see `stamp_of`.
        costs: see `LlmClient.costs`.
        number: of the part.
        stock: that the parts are dealt from.
    """
    files: dict[str, str] = {}
    for path, written in (("plan/plan", rows), ("rejects/plan", rejects)):
        if written is not None and (written.rows or written is rows):
            digest = file_sha256(written.path)
            files[f"{path}-{digest[:16]}.arrow"] = digest
            store.put(f"{path}-{digest[:16]}.arrow", written.path)
    first = {
        "recipe": recipe.model_dump(mode="json", exclude={"resources"}),
        "stamp": list(stamp),
        **({"parts": len(stock.parts), "read": stock.digest} if stock and len(stock.parts) > 1 else {}),
    }
    announcement = {
        **(first if number == 0 else {"part": number}),
        "files": files,
        "rows": rows.rows,
        "rejected": rejects.rows if rejects else 0,
        "reasons": tally.commonest_first(rejects.reasons) if rejects else {},
        "asked": list(costs),
        "libraries": made_with.versions(made_with.PLAN_LIBRARIES),
    }
    store.create(part_path(number), commit.json_bytes(announcement))


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


def _gather(
    source_rows: Iterator[SourceRow],
    recipe: Recipe,
    llm_client: LlmClient,
    path: Path,
    rejects: RowWriter,
    progress: Reporter,
) -> Conversations:
    """Clean what a source gives, and find its conversations; what cannot be spoken goes to the rejects.

    Raises:
        EngineError: language models did not answer everything.
    """
    deferred = list[DeferredPair]()
    # Language models, and who listens to recordings, tell of themselves.
    tells = bool(recipe.planning_models()) or any(
        isinstance(source, Recordings) and source.transcribe for source in sources_of(recipe.source)
    )

    def cleaned() -> Iterator[Cleaned]:
        rows = _without_deferred(source_rows, deferred)
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
    if deferred:
        what = "nothing of it" if llm_client.where else "nothing"
        raise EngineError(
            f"{quantity(len(deferred), 'conversation')} deferred{llm_client.where}, so {what} is planned yet "
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
