"""`anytalk init` and `anytalk plan`: a recipe to begin with, and what it will take before it is paid for."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from anytalk.synth.wording import quantity

from .build import STAGES
from .console import Json, RecipeName, Set, emit, interrupted, overrides

app = typer.Typer()

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
    """Ask four questions, of which options answer some or all, and write a commented recipe that validates."""
    from anytalk.recipes.starter import write_recipe

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
    emit(dataclasses.asdict(found), as_json, _text(found))


def _text(found: Any) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in found.reasons.items()) or "none"
    splits = ", ".join(f"{split} {count:,}" for split, count in found.splits.items())
    seconds = ", ".join(f"{STAGES.get(stage, stage)} {value:,.0f} s" for stage, value in found.seconds.items())
    state = (
        "planned; anytalk build goes on from here" if found.planned else "not planned: texts are still to be paid for"
    )
    pools = " ".join(f"--set resources.{name}={count}" for name, count in found.resources.items())
    measured = f"{quantity(found.calibration['rows'], 'row')} in {found.calibration['wall_s']:.0f} s"
    gpu = f", {found.gpu_hours:.2f} GPU-hours" if found.gpu_hours else ""
    lines = [
        f"{found.dataset}: {state}",
        f"  rows         {found.rows:,} ({splits}), about {found.rows_accepted:,} accepted",
        f"  rejected     {found.rows_rejected:,} before they are spoken: {reasons}",
        f"  speech       {found.speech_hours:.2f} h",
        f"  time         {found.core_hours:.2f} core-hours{gpu}; {_duration(found.wall_hours)} on this machine",
        *([_cluster(found.cluster)] if found.cluster else []),
        f"  disk         {found.disk_gib:.2f} GiB",
        *_tokens(found),
        f"  cost         {_cost(found)}",
        f"  stage time   {seconds}",
        f"  bottleneck   {STAGES.get(found.bottleneck, found.bottleneck)}; pools for this machine: {pools}",
        f"  measured on  {measured}",
        "  rows as they will be said:",
        *(f"    {line}" for example in found.examples for line in _example(example)),
    ]
    return "\n".join(lines)


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 2 else f"{60 * hours:.1f} minutes"


def _cluster(cluster: dict[str, float]) -> str:
    crews = f"{quantity(int(cluster['crews']), 'crew')} of {cluster['cores']:.0f} cores"
    return f"  cluster      {_duration(cluster['wall_hours'])} with {crews} in all"


def _tokens(found: Any) -> list[str]:
    lines = []
    if any(found.tokens.values()):
        sent, back = found.tokens["prompt_tokens"], found.tokens["completion_tokens"]
        lines.append(f"  tokens       {sent:,} sent, {back:,} got back")
    if found.characters:
        lines.append(f"  characters   {found.characters:,} to speech servers")
    return lines


def _cost(found: Any) -> str:
    without = "; ".join(found.without_price)
    if found.cost is None:
        return f"unknown; prices are given with {without}" if without else "nothing has a price"
    return f"{found.cost:,.2f}" + (f", without {without}" if without else "")


def _example(example: dict[str, Any]) -> list[str]:
    lines = [f"{example['split']} {example['id']}"]
    for side in ("question", "answer"):
        if example[f"{side}_voice"]:
            lines.append(f"  {example[f'{side}_voice'].partition(' ')[0]}: {example[side] or '(still to be heard)'}")
    return lines
