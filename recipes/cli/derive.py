"""`anytalk filter` and `anytalk merge`: datasets from finished datasets, without speaking."""

import dataclasses
from typing import Annotated, Any

import typer

from anytalk.synth.wording import quantity

from .console import Json, emit, interrupted

app = typer.Typer()

Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder or object-store URL of the new dataset.")]


@app.command(name="filter", epilog="Example:  anytalk filter out/quickstart/dataset out/best --where 'answer_wer == 0'")
def filter_(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL that anytalk build wrote.")],
    out: Out,
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
    _tell(found, as_json, "that do not meet the condition")


@app.command(epilog="Example:  anytalk merge out/mine out/quickstart/dataset out/both")
def merge(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Two finished datasets or more.")],
    out: Out,
    keep_first: Annotated[
        bool, typer.Option("--keep-first", help="Of a row that several have, keep that of the first; else refuse.")
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
    _tell(found, as_json, "that an earlier dataset has")


def _tell(found: Any, as_json: bool, why: str) -> None:
    splits = ", ".join(f"{split} {rows:,}" for split, rows in found.splits.items())
    text = f"{found.dataset}: complete\n  accepted   {quantity(found.rows, 'row')} ({splits})"
    if found.left_out:
        text += f"\n  left out   {quantity(found.left_out, 'row')} {why}"
    emit(dataclasses.asdict(found), as_json, text)
