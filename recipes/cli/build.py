"""`anytalk init`, `plan`, `build` and `check`: a recipe, what it takes, its dataset, and whether that is in order."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from anytalk.recipes.forecast import STAGES, forecast_text
from anytalk.synth.errors import SetupError
from anytalk.synth.wording import quantity

from .console import Json, Mixed, RecipeName, Set, emit, interrupted, overrides

app = typer.Typer()

SHOWN = 20
"""Wrong units that are named; all of them are in --json."""


QUESTIONS = {
    "name": ("What is the dataset called?", "mine"),
    "source": (
        "Where do pairs come from? bundled, a file, a folder of recordings, or a hub id (OWNER/NAME)",
        "bundled",
    ),
    "question": ("Which voices ask? Several with commas; anytalk doctor lists them", "hibari:heart"),
    "answer": ("Which voice answers?", "hibari:heart"),
}


@app.command(
    epilog="Examples:  anytalk init mine.yaml  |  "
    "anytalk init mine.yaml --name mine --source pairs.jsonl --question piper:joe,hibari:heart --answer hibari:heart"
)
def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Recipe to write.")] = Path("recipe.yaml"),
    name: Annotated[str | None, typer.Option(help=QUESTIONS["name"][0])] = None,
    source: Annotated[str | None, typer.Option(help=QUESTIONS["source"][0])] = None,
    question: Annotated[str | None, typer.Option(help=QUESTIONS["question"][0])] = None,
    answer: Annotated[str | None, typer.Option(help=QUESTIONS["answer"][0])] = None,
    as_json: Json = False,
) -> None:
    """Write a commented recipe from four answers: those that no option gives are asked for."""
    from anytalk.recipes.starter import check_path, write_recipe

    check_path(path)
    given = {"name": name, "source": source, "question": question, "answer": answer}
    answers = {
        key: value if value is not None else typer.prompt(asked, default=default, err=True)
        for (key, value), (asked, default) in zip(given.items(), QUESTIONS.values(), strict=True)
    }
    recipe = write_recipe(path, **answers)
    source_kind = recipe.source.kind
    text = f"{path}: pairs from {source_kind}; next: anytalk plan {path}, then anytalk build {path}"
    emit({"recipe": str(path), "name": recipe.name, "source": source_kind}, as_json, text)


@app.command(
    epilog="Examples:  anytalk plan quickstart  |  anytalk plan quickstart --set source=pairs.jsonl --out mine --json"
)
def plan(
    recipe: RecipeName,
    out: Annotated[str | None, typer.Option(help="Folder or URL of the dataset; out/NAME by default.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows that are made to measure the engines, and thrown away.")] = 24,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Say what a build will take: rows, hours of speech, core- and GPU-hours, disk, tokens, money, and ten examples.

    The plan is kept, and the build goes on from it. Language models that write or rewrite the texts are asked for a few
    conversations only.
    """
    from anytalk.recipes.shipped import find

    path = find(recipe, "build")
    typer.echo("starting ...", err=True)  # What follows imports much, which takes seconds.
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter
    from anytalk.pipelines.recipe import load_recipe, pointing_at

    loaded = load_recipe(path, overrides(settings))
    try:
        with pointing_at(path, overrides(settings)):
            found = pipelines.estimate(loaded, out or f"out/{loaded.name}", rows=rows, progress=reporter())
    except KeyboardInterrupt:
        interrupted("nothing was spoken for the dataset; the same command begins anew")
    emit(dataclasses.asdict(found), as_json, forecast_text(found))


@app.command(
    epilog="Examples:  anytalk build quickstart  |  anytalk build quickstart --set source=pairs.jsonl --out mine  |  "
    "anytalk build quickstart --preview 8"
)
def build(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, a YAML file, or an unfinished dataset.")
    ],
    out: Annotated[str | None, typer.Option(help="Folder or object-store URL; out/NAME by default.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Run in this process instead of on Ray.")] = False,
    part: Annotated[
        str | None,
        typer.Option(metavar="N/COUNT", help="Make only every COUNT-th unit, from the N-th; implies --local."),
    ] = None,
    preview: Annotated[
        int | None, typer.Option(min=1, metavar="ROWS", help="Make only so many rows, in a folder beside: OUT-preview.")
    ] = None,
    mixed: Mixed = False,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Build a dataset from a recipe, or go on with one that was interrupted: by its recipe, or by its folder."""
    if preview is not None and part is not None:
        raise SetupError("--preview and --part exclude each other")
    from anytalk.recipes.shipped import find
    from anytalk.synth.errors import EngineError

    goes_on = "://" in recipe or (Path(recipe) / "plan" / "plan.json").is_file()
    path = None if goes_on else find(recipe, "build")
    typer.echo("starting ...", err=True)  # What follows imports much, which takes seconds.
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter
    from anytalk.pipelines.recipe import load_recipe, pointing_at

    changed = overrides(settings)
    loaded = pipelines.recipe_of(recipe, changed) if path is None else load_recipe(path, changed)
    target = out or (recipe if goes_on else f"out/{loaded.name}")
    try:
        with pointing_at(path, changed):
            if preview is not None:
                summary = pipelines.preview(loaded, target, preview, local=local, mixed=mixed, progress=reporter())
            else:
                summary = pipelines.build(loaded, target, local=local, part=part, mixed=mixed, progress=reporter())
    except KeyboardInterrupt:
        interrupted(f"what is finished is kept in {target}; the same command goes on from there")
    except EngineError as error:
        raise EngineError(
            f"{error}\nwhat is finished is kept in {target}; the same command goes on from there"
        ) from None
    emit(
        dataclasses.asdict(summary) | {"complete": summary.complete, "well": summary.well},
        as_json,
        _build_text(summary, has_report=loaded.report or preview is not None),
    )
    raise typer.Exit(0 if summary.well else 1)


def _build_text(summary: Any, *, has_report: bool) -> str:
    from anytalk.pipelines.close import REPORT
    from anytalk.pipelines.dataset import tally

    reasons = ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items()) or "none"
    splits = ", ".join(f"{split} {count}" for split, count in summary.splits.items())
    pace = summary.speech_hours_per_work_hour
    stages = ", ".join(f"{STAGES.get(stage, stage)} {seconds:.0f} s" for stage, seconds in summary.seconds.items())
    lines = [
        f"{summary.dataset}: {_state(summary)}",
        f"  accepted   {quantity(summary.rows_accepted, 'row')} ({splits}), {summary.rows_rerolled} of them on retry",
        f"  rejected   {quantity(summary.rows_rejected, 'row')}: {reasons}",
        *(f"  {line}" for line in tally.text(summary.gates)),
        f"  deferred   {quantity(summary.rows_deferred, 'row')}",
        f"  speech     {summary.speech_hours:.3f} h"
        + (f", {pace:.1f} h of speech per wall-clock hour" if pace else ""),
        f"  stage time, summed over workers: {stages}",
    ]
    if has_report and summary.complete:
        lines.append(f"  report     {summary.dataset}/{REPORT}: to look at and listen to")
    if summary.other_versions:
        lines.append(f"  made with {summary.other_versions}; nothing is made anew")
    lines += [f"  deferred because: {reason}" for reason in summary.deferred]
    if summary.deferred:
        lines.append("  the same command tries the deferred rows again")
    return "\n".join(lines)


def _state(summary: Any) -> str:
    if not summary.complete and summary.part is not None:
        state = "done" if summary.part_done else "NOT done"
        there = f"{summary.units_there:,} of {quantity(summary.units, 'unit')} of the dataset are there"
        return f"part {summary.part} {state}; {there}"
    if not summary.complete:
        return "NOT complete"
    if not summary.rows_accepted:
        return "no rows accepted"
    return "complete" if summary.speech_hours_per_work_hour else "already complete"


@app.command(epilog="Examples:  anytalk check out/quickstart/dataset  |  anytalk check out/quickstart/dataset --repair")
def check(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL that anytalk build wrote.")],
    repair: Annotated[bool, typer.Option("--repair", help="Make units that are wrong again, in this process.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read; one for each core by default.")
    ] = None,
    mixed: Mixed = False,
    as_json: Json = False,
) -> None:
    """Verify a dataset: checksums, schema, ids, ranges and lengths of every row. Or repair what is wrong with it."""
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter

    try:
        if repair:
            report = pipelines.repair(dataset, mixed=mixed, progress=reporter(), workers=workers)
        else:
            report = pipelines.check(dataset, progress=reporter(), workers=workers)
    except KeyboardInterrupt:
        interrupted(f"{dataset} is as it was, or unfinished: then anytalk build goes on with it")
    wrong = ", ".join(map(str, report.units[:SHOWN])) + (", ..." if len(report.units) > SHOWN else "")
    repairs = f"  wrong units: {wrong}; anytalk check {report.dataset} --repair makes them again"
    text = "\n".join(
        [
            f"{report.dataset}: {'OK' if report.well else 'FAILED'}",
            f"  checked    {quantity(report.files, 'file')}, {quantity(report.rows, 'row')}, "
            f"{quantity(report.rejects, 'reject')}",
            *(f"  problem    {problem}" for problem in report.problems),
            *([repairs] if report.units and not repair else []),
        ]
    )
    emit(dataclasses.asdict(report) | {"well": report.well}, as_json, text)
    raise typer.Exit(0 if report.well else 1)
