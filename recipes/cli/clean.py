"""`anytalk dedup` and `anytalk decontaminate`: what should not be in a dataset that is built already."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anytalk.synth.wording import quantity

from .console import Json, emit

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
    from anytalk.pipelines.recipe import Dedup

    rules = Dedup(threshold=threshold, ngram=ngram, against=tuple(against or ()))
    _tell(dataset, find_duplicates(dataset, rules), out, as_json)


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
    from anytalk.pipelines.recipe import Decontaminate, EvaluationSet

    sets = tuple(EvaluationSet(path=path, columns=tuple(column or ()), split=split) for path in against)
    rules = Decontaminate(against=sets, ngram=ngram, min_overlap=min_overlap)
    _tell(dataset, find_contamination(dataset, rules), out, as_json)


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
