"""`anytalk dedup`, `decontaminate`, `filter` and `merge`: what a finished dataset should hold, without speaking."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anytalk.synth.wording import quantity

from .console import Json, emit, interrupted

if TYPE_CHECKING:
    from anytalk.pipelines.likeness import Finding

app = typer.Typer()

DEDUP_EPILOG = "Example:  anytalk dedup out/quickstart/dataset --against out/earlier --out near-duplicates.txt"
DECONTAMINATE_EPILOG = (
    "Example:  anytalk decontaminate out/quickstart/dataset --against exam.jsonl --against OWNER/HUB-SET"
)
SHOWN = 20
"""Findings that a person is shown; all of them are in --json and --out."""

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL that anytalk build wrote.")]
NewDataset = Annotated[str, typer.Argument(metavar="OUT", help="Folder or object-store URL of the new dataset.")]
Out = Annotated[Path | None, typer.Option(help="File for the ids of the rows that were found, one a line.")]


@app.command(epilog=DEDUP_EPILOG)
def dedup(
    dataset: Dataset,
    against: Annotated[
        list[str] | None, typer.Option(metavar="DATASET", help="An earlier dataset that comes first; repeatable.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0.01, max=1.0, help="Jaccard similarity of shingles.")] = 0.7,
    ngram: Annotated[int, typer.Option(min=1, max=13, help="Words of a shingle.")] = 2,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find conversations of a dataset that are like an earlier one, by text and by what was heard."""
    from anytalk.pipelines.likeness import find_duplicates
    from anytalk.pipelines.progress import reporter
    from anytalk.pipelines.recipe import Dedup

    rules = Dedup(threshold=threshold, ngram=ngram, against=tuple(against or ()))
    _tell(dataset, _found(lambda: find_duplicates(dataset, rules, reporter())), out, as_json)


@app.command(epilog=DECONTAMINATE_EPILOG)
def decontaminate(
    dataset: Dataset,
    against: Annotated[
        list[str], typer.Option(metavar="SET", help="txt, jsonl, csv, parquet, hub id or anytalk dataset; repeatable.")
    ],
    column: Annotated[
        list[str] | None, typer.Option(help="Column of the sets; the question's by default. Repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of sets that have several.")] = "test",
    ngram: Annotated[int, typer.Option(min=1, max=32, help="Words of an n-gram.")] = 8,
    min_overlap: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of an evaluation text's words in common n-grams.")
    ] = 0.5,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find conversations of a dataset that hold evaluation texts: as said, as written, or as heard."""
    from anytalk.pipelines.likeness import find_contamination
    from anytalk.pipelines.progress import reporter
    from anytalk.pipelines.recipe import Decontaminate, EvaluationSet

    sets = tuple(EvaluationSet(path=path, columns=tuple(column or ()), split=split) for path in against)
    rules = Decontaminate(against=sets, ngram=ngram, min_overlap=min_overlap)
    _tell(dataset, _found(lambda: find_contamination(dataset, rules, reporter())), out, as_json)


@app.command(name="filter", epilog="Example:  anytalk filter out/quickstart/dataset out/best --where 'answer_wer == 0'")
def filter_(
    dataset: Dataset,
    out: NewDataset,
    where: Annotated[
        str, typer.Option(help='A condition on columns, such as "answer_wer < 0.1 and question_mos > 3".')
    ],
    as_json: Json = False,
) -> None:
    """Make a dataset of the accepted rows that meet a condition; nothing is spoken, rejects are left out."""
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter

    try:
        found = pipelines.filter_rows(dataset, out, where, progress=reporter())
    except KeyboardInterrupt:
        interrupted(f"{out} is unfinished; the same command makes it")
    _tell_made(found, as_json, "condition not met")


@app.command(epilog="Example:  anytalk merge out/mine out/quickstart/dataset out/both")
def merge(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Two finished datasets or more.")],
    out: NewDataset,
    keep_first: Annotated[
        bool,
        typer.Option(
            "--keep-first",
            help="Take a row that several datasets have from the first of them; without this such rows are refused.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make one dataset of several that have the same columns, codec, feature model and thresholds."""
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter

    try:
        found = pipelines.merge(datasets, out, keep_first=keep_first, progress=reporter())
    except KeyboardInterrupt:
        interrupted(f"{out} is unfinished; the same command makes it")
    _tell_made(found, as_json, "in an earlier dataset already")


def _found(find: Callable[[], Sequence["Finding"]]) -> Sequence["Finding"]:
    try:
        return find()
    except KeyboardInterrupt:
        interrupted("nothing was written")


def _tell(dataset: str, found: Sequence["Finding"], out: Path | None, as_json: bool) -> None:
    """Print what was found, write the ids of its rows, and end with 1 if there is any."""
    rows = [row for finding in found for row in finding.rows]
    if out is not None:
        out.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    lines = [f"{dataset}: {quantity(len(found), 'conversation')} found, {quantity(len(rows), 'row')}"]
    for finding in found[:SHOWN]:
        shared = "" if finding.ngram is None else f": {finding.ngram!r}"
        lines.append(
            f"  {finding.split} {finding.split_name}/{finding.conversation} ({finding.column}) "
            f"{finding.similarity:.2f} like {finding.matched}{shared}"
        )
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN:,} more; --json lists them all")
    if out is not None:
        lines.append(f"{out}: their ids")
    facts = {"dataset": dataset, "conversations": len(found), "rows": len(rows)}
    emit(facts | {"found": [dataclasses.asdict(finding) for finding in found]}, as_json, "\n".join(lines))
    raise typer.Exit(1 if found else 0)


def _tell_made(found: Any, as_json: bool, why: str) -> None:
    splits = ", ".join(f"{split} {rows:,}" for split, rows in found.splits.items())
    text = f"{found.dataset}: complete\n  accepted   {quantity(found.rows, 'row')} ({splits})"
    if found.left_out:
        text += f"\n  left out   {quantity(found.left_out, 'row')}: {why}"
    emit(dataclasses.asdict(found), as_json, text)
