"""`anytalk show`, `explain` and `report`: rows of a dataset, why one is what it is, and a page of all."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anytalk.synth.errors import SetupError
from anytalk.synth.wording import quantity

from .console import Json, emit, interrupted

if TYPE_CHECKING:
    from anytalk.pipelines.report import Explanation, WholeRow

app = typer.Typer()

SHOW_EPILOG = (
    "Examples:  anytalk show out/quickstart/dataset --worst 10 --by answer_wer  |  "
    "anytalk show out/quickstart/dataset --rejected --reason high_wer  |  "
    "anytalk show out/quickstart/dataset --where 'answer_mos < 3.2 and language == \"en\"'  |  "
    "anytalk show out/quickstart/dataset ID --save sounds"
)
REPORT_EPILOG = (
    "Examples:  anytalk report out/quickstart/dataset  |  "
    "anytalk report s3://bucket/dataset --out report.html --rows 200"
)
EXPLAIN_EPILOG = "Example:  anytalk explain out/quickstart/dataset ID"

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL that anytalk build wrote.")]
TEXT_WIDTH = 44
"""Characters of a text in a table."""


@app.command(epilog=SHOW_EPILOG)
def show(
    dataset: Dataset,
    row: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A row's id, or its first characters: show it whole.")
    ] = None,
    worst: Annotated[int | None, typer.Option(min=1, metavar="N", help="The N worst rows by --by.")] = None,
    best: Annotated[int | None, typer.Option(min=1, metavar="N", help="The N best rows by --by.")] = None,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Order of --worst and --best; answer_wer by default.")
    ] = None,
    accepted: Annotated[bool, typer.Option("--accepted", help="Only accepted rows.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only rejected rows.")] = False,
    reason: Annotated[str | None, typer.Option(help="Only rows that were rejected for this, such as high_wer.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION", help="Only rows that meet it, such as 'answer_wer > 0.1'; docs/report.md has the form."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows without --worst and --best.")] = 20,
    play: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the row's sounds as one wav; - for standard output.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Write each of the row's sounds as a wav.")] = None,
    as_json: Json = False,
) -> None:
    """Show rows of a dataset as a table, or one row whole: texts, every attempt, what failed, voice, seed, place."""
    choosing = any(one is not None for one in (worst, best, by, reason, where)) or accepted or rejected
    if row is not None and choosing:
        raise SetupError("an ID shows one row; --worst, --best, --by, --reason, --where and the like choose several")
    if row is None and (play is not None or save is not None):
        raise SetupError("--play and --save write the sounds of one row: name its ID")
    if (worst is not None and best is not None) or (accepted and (rejected or reason is not None)):
        raise SetupError("--worst and --best, and --accepted and --rejected, leave each other out")
    if row is not None:
        _show_one(dataset, row, play, save, as_json)
        return
    from anytalk.pipelines.progress import reporter
    from anytalk.pipelines.report import Selection, select

    chosen = Selection(
        outcome="accepted" if accepted else "rejected" if rejected or reason is not None else None,
        reason=reason,
        where=where,
        by=by or ("answer_wer" if worst or best else None),
        worst=best is None,
        limit=worst or best or limit,
    )
    rows, count = select(dataset, chosen, reporter())
    emit({"dataset": dataset, "rows_matching": count, "rows": rows}, as_json, _table(dataset, rows, count, chosen.by))


@app.command(epilog=EXPLAIN_EPILOG)
def explain(
    dataset: Dataset,
    row: Annotated[
        str, typer.Argument(metavar="ID", help="A row's id, or its first characters; anytalk show lists them.")
    ],
    as_json: Json = False,
) -> None:
    """Say why a row was accepted, rejected or deferred, and what command would change that."""
    from anytalk.pipelines import report

    found = report.explain(dataset, report.whole_row(dataset, row))
    emit(dataclasses.asdict(found), as_json, _explained(found))


@app.command(epilog=REPORT_EPILOG)
def report(
    dataset: Dataset,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="File to write; report.html in the dataset by default.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="Most rows that are shown, with their sounds.")] = 100,
    as_json: Json = False,
) -> None:
    """Write one HTML page of a dataset to look at and listen to: yield, measures, voices, the worst rows, rejects."""
    from anytalk.pipelines import report as reporting
    from anytalk.pipelines.progress import reporter

    try:
        found = reporting.report(dataset, out, rows=rows, progress=reporter())
    except KeyboardInterrupt:
        interrupted("nothing was written")
    shown = f"{found.rows_shown:,} of {quantity(found.rows, 'row')}, {found.rows_with_sound:,} with sound"
    text = f"{found.page}: {shown}; {found.bytes / 1e6:.1f} MB"
    emit(dataclasses.asdict(found), as_json, text)


def _show_one(dataset: str, name: str, play: str | None, save: Path | None, as_json: bool) -> None:
    from anytalk.pipelines import report

    found = report.whole_row(dataset, name)
    if play == "-":
        report.write_played(found, sys.stdout.buffer)
        return
    files = report.save_sounds(found, save) if save is not None else []
    if play is not None:
        try:
            with Path(play).open("wb") as file:
                report.write_played(found, file)
        except OSError as error:
            raise SetupError(f"--play {play} cannot be written: {error.strerror}") from None
        files.append(Path(play))
    told = found.as_json() | {"sounds": [str(path) for path in files]}
    emit(told, as_json, "\n".join([*_whole(found, told), *(f"  wrote      {path}" for path in files)]))


def _table(dataset: str, rows: list[dict[str, Any]], count: int, by: str | None) -> str:
    if not rows:
        return f"{dataset}: no such rows"
    measures = ["question_wer", "answer_wer", "question_mos", "answer_mos"]
    columns = ["id", "outcome", *measures, *([by] if by and by not in measures else []), "question", "answer"]
    lines = [columns, *([_cell(row, column) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    listed = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    more = "" if count == len(rows) else f", {len(rows):,} shown"
    return "\n".join([f"{dataset}: {quantity(count, 'row')}{more}", *listed])


def _cell(row: dict[str, Any], column: str) -> str:
    value = row[column]
    if column == "outcome":
        return row["reason"] or value
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(_printable(str(value)).split())
    return text if column == "id" or len(text) <= TEXT_WIDTH else f"{text[: TEXT_WIDTH - 3]}..."


def _printable(text: str) -> str:
    """A text without what would move a terminal's cursor or colour it."""
    return "".join(character if character.isprintable() or character.isspace() else "?" for character in text)


def _whole(row: "WholeRow", told: dict[str, Any]) -> list[str]:
    why = f": {row.reason}, {row.detail}" if row.reason else f": {row.detail}" if row.detail else ""
    lines = [f"{row.id}: {row.outcome}{why}"]
    for name in ("question", "answer"):
        lines.append(f"  {name:<10} {told[name] or '-'}")
        if told[f"{name}_written"] not in (None, told[name]):
            lines.append(f"  {'written':<10} {told[f'{name}_written']}")
    known = ("turn", "variant", "language", "question_speaker", "answer_speaker")
    place = [f"{key.replace('_', ' ')} {told[key]}" for key in known if told.get(key) is not None]
    if told["conversation"] is not None:
        place.insert(0, f"{told['split_name']}/{told['conversation']}")
    lines += [f"  {'pair':<10} {', '.join(place) or '-'}", f"  {'source':<10} {told['source'] or '-'}"]
    if "unit" in told:
        files = ", ".join(told["files"].values()) or "not committed"
        lines += [f"  {'unit':<10} {told['unit']}, split {told['split']}: {files}", f"  {'seed':<10} {told['seed']}"]
    for attempt in told["attempts"]:
        lines += _attempt(attempt)
    return [_printable(line) for line in lines]


def _attempt(attempt: dict[str, Any]) -> list[str]:
    state = "counts" if attempt["chosen"] else "passes" if attempt["reason"] is None else f"fails: {attempt['reason']}"
    lines = [f"  {attempt['side']}, attempt {attempt['attempt']}: {state}", f"    voice    {attempt['voice']}"]
    if attempt["text"]:
        lines.append(f"    said     {attempt['text']}")
    if attempt["transcript"] is not None:
        lines.append(f"    heard    {attempt['transcript']}")
    if attempt["measures"]:
        known = [f"{name} {value:g}" for name, value in attempt["measures"].items() if value is not None]
        lines.append(f"    measures {', '.join(known)}")
    failed = [
        f"{one['reason']} ({one['measure']} {one['value']:g}, bound {one['bound']:g})" for one in attempt["failed"]
    ]
    if failed:
        lines.append(f"    gates    {', '.join(failed)}")
    elif attempt["reason"] is not None:
        lines.append(f"    because  {attempt['detail']}")
    return lines


def _explained(found: "Explanation") -> str:
    lines = [f"{found.id}: {found.outcome}{f', {found.reason}' if found.reason else ''}"]
    lines += [f"  {sentence}" for sentence in found.because]
    for change in found.changes:
        lines += ["", f"  {change.command}", f"    {change.effect}"]
    if found.otherwise:
        lines += ["", f"  no command changes that; {found.otherwise}"]
    if not found.changes and not found.otherwise:
        lines += ["", "  no threshold changes that"]
    return "\n".join(_printable(line) if line else line for line in lines)
