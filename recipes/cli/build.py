"""`anytalk build` and `anytalk check`: a dataset from a recipe, and whether its files are in order."""

import dataclasses
from typing import Annotated, Any

import typer

from .console import Json, RecipeName, Set, emit, interrupted, overrides

app = typer.Typer()


@app.command(
    epilog="Examples:  anytalk build quickstart  |  anytalk build quickstart --set source=pairs.jsonl --out mine"
)
def build(
    recipe: RecipeName,
    out: Annotated[str | None, typer.Option(help="Folder or object-store URL; out/NAME by default.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Run in this process instead of on Ray.")] = False,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Build a dataset from a recipe, or go on with one that was interrupted."""
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter
    from anytalk.pipelines.recipe import load_recipe
    from anytalk.recipes.shipped import find

    loaded = load_recipe(find(recipe, "build"), overrides(settings))
    target = out or f"out/{loaded.name}"
    try:
        summary = pipelines.build(loaded, target, local=local, progress=reporter())
    except KeyboardInterrupt:
        interrupted(f"what is finished is kept in {target}; the same command goes on from there")
    emit(
        dataclasses.asdict(summary) | {"complete": summary.complete, "well": summary.well},
        as_json,
        _build_text(summary),
    )
    raise typer.Exit(0 if summary.well else 1)


STAGE_NAMES = {"voices": "TTS", "hearing": "ASR", "judging": "scoring", "codec": "codec"}


def _build_text(summary: Any) -> str:
    from anytalk.pipelines.dataset import tally

    reasons = ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items()) or "none"
    splits = ", ".join(f"{split} {count}" for split, count in summary.splits.items())
    pace = summary.speech_hours_per_work_hour
    state = ("complete" if pace else "already complete") if summary.complete else "NOT complete"
    if summary.complete and not summary.rows_accepted:
        state = "no rows accepted"
    lines = [
        f"{summary.dataset}: {state}",
        f"  accepted   {summary.rows_accepted} rows ({splits}), {summary.rows_rerolled} of them on retry",
        f"  rejected   {summary.rows_rejected} rows: {reasons}",
        *(f"  {line}" for line in tally.text(summary.gates)),
        f"  deferred   {summary.rows_deferred} rows",
        f"  speech     {summary.speech_hours:.3f} h"
        + (f", {pace:.1f} h of speech per wall-clock hour" if pace else ""),
        "  stage time, summed over workers: "
        + ", ".join(f"{STAGE_NAMES[stage]} {seconds:.0f} s" for stage, seconds in summary.seconds.items()),
    ]
    lines += [f"  deferred because: {reason}" for reason in summary.deferred]
    if summary.deferred:
        lines.append("  the same command tries the deferred rows again")
    return "\n".join(lines)


@app.command(epilog="Example:  anytalk check out/quickstart")
def check(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL that anytalk build wrote.")],
    as_json: Json = False,
) -> None:
    """Verify a dataset: checksums, schema, ids, ranges and lengths of every row."""
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter

    report = pipelines.check(dataset, progress=reporter())
    text = "\n".join(
        [
            f"{report.dataset}: {'well' if report.well else 'NOT well'}",
            f"  checked    {report.files} files, {report.rows} rows, {report.rejects} rejects",
            *(f"  problem    {problem}" for problem in report.problems),
        ]
    )
    emit(dataclasses.asdict(report) | {"well": report.well}, as_json, text)
    raise typer.Exit(0 if report.well else 1)
