"""`anytalk train` and `anytalk convert`: checkpoints from a recipe, and from other formats."""

import dataclasses
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anytalk.synth.errors import SetupError
from anytalk.synth.wording import quantity

from .console import Json, RecipeName, Set, emit, interrupted, overrides

if TYPE_CHECKING:
    from anytalk.recipes.train import Expected

app = typer.Typer()

CONVERT_HELP = "FORMAT is what SRC is in, unless --to says what DST will be in. DST is a new folder."


class Log(StrEnum):
    """Who may watch a run; as `anytalk.recipes.train.logs.Log`, which would import torch."""

    tensorboard = "tensorboard"
    wandb = "wandb"


@app.command(
    epilog="Examples:  anytalk train talker --data out/quickstart/dataset --out out/talker  |  "
    "anytalk train mini-omni --data SHARDS --dry-run  |  "
    "torchrun --nproc-per-node 8 -m anytalk.recipes train mini-omni --data SHARDS --out RUN"
)
def train(
    recipe: RecipeName,
    data: Annotated[
        list[str] | None, typer.Option(metavar="DATASET", help="Folder that anytalk build wrote; repeatable.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the run; out/NAME by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; more than one run through Ray Train.")] = 1,
    allow_change: Annotated[
        bool,
        typer.Option("--allow-change", help="Go on with another learning rate, or with more steps; it is recorded."),
    ] = False,
    log: Annotated[
        list[Log] | None,
        typer.Option(help="Who gets the metrics besides metrics.jsonl; repeatable. Both are extras."),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Load everything, say what the run would be, and train nothing.")
    ] = False,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Train a model from a recipe, stage after stage, or go on with a run."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.train import TrainingStopped, dry_run, load_training_recipe
    from anytalk.recipes.train import train as run_training

    loaded = load_training_recipe(recipe, overrides(settings) | ({"data.datasets": data} if data else {}))
    if dry:
        found = dry_run(loaded, progress=reporter())
        emit(dataclasses.asdict(found), as_json, _expected_text(found))
        return
    target = out or f"out/{loaded.name}"
    try:
        summary = run_training(
            loaded,
            target,
            workers=workers,
            progress=reporter(),
            logs=[each.value for each in log or ()],
            allow_change=allow_change,
        )
    except KeyboardInterrupt:
        interrupted(f"the last checkpoint is in {target}; the same command goes on from there")
    except TrainingStopped as error:
        typer.echo(f"anytalk: {error}", err=True)
        raise typer.Exit(1) from error
    if os.environ.get("RANK", "0") == "0":  # torchrun starts many of us
        emit(summary, as_json, _training_text(summary))


def _expected_text(found: "Expected") -> str:
    lines = [f"{found.parameters / 1e6:.2f} M parameters, {quantity(found.rows, 'row')}"]
    for stage in found.stages:
        lines.append(
            f"stage {stage.name}: {quantity(stage.steps, 'step')} of {stage.positions_per_step:,} positions, "
            f"{stage.trainable / 1e6:.2f} M parameters learn"
        )
        for task, spread in stage.samples.items():
            lines.append(
                f"  {task}: {quantity(spread['samples'], 'sample')}; positions: median {spread['median']}, "
                f"95 % up to {spread['percentile_95']}, longest {spread['longest']}"
            )
        lines.append(f"  memory about {stage.memory_gib:.1f} GiB a worker; {stage.hours:.2f} h on this device alone")
    hours = sum(stage.hours for stage in found.stages)
    lines.append(f"in all {hours:.2f} h, at 40 % of the {found.peak_tflops:g} TFLOP/s that were measured here")
    return "\n".join([*lines, "a sample of the first stage:", *(f"  {line}" for line in found.sample)])


def _training_text(summary: dict[str, Any]) -> str:
    loss = "" if summary["loss"] is None else f", loss {summary['loss']:.3f}"
    lines = [f"{summary['run']}: {quantity(summary['step'], 'step')}{loss}"]
    if summary["best_loss"] is not None:
        lines.append(f"  validation {summary['best_loss']:.3f} at step {summary['best_step']}, the last stage's lowest")
    pace = f", {summary['positions_per_s']:,.0f} a second" if summary["positions_per_s"] else ""
    lines.append(f"  positions  {summary['positions']:,}{pace}")
    lines.append(f"  best       {summary['best']}")
    return "\n".join(lines)


@app.command(
    epilog="Examples:  anytalk convert mini-omni original/ mine/  |  anytalk convert --to mini-omni RUN/best original/"
)
def convert(
    arguments: Annotated[list[str], typer.Argument(metavar="[FORMAT] SRC DST", help=CONVERT_HELP)],
    to: Annotated[str | None, typer.Option("--to", metavar="FORMAT", help="Write another format instead.")] = None,
    as_json: Json = False,
) -> None:
    """Read a checkpoint of another format, or write one with --to. The format is mini-omni, the original's."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.convert import READERS, WRITERS, convert_checkpoint

    if len(arguments) != (3 if to is None else 2):
        raise SetupError("give FORMAT SRC DST, such as mini-omni original/ mine/; or --to FORMAT SRC DST")
    name, source, target = [*([] if to is None else [to]), *arguments]
    ways = READERS if to is None else WRITERS
    if name not in ways:
        raise SetupError(f"no checkpoint format is called {name!r}; there is: {', '.join(ways)}")
    progress = reporter()
    progress.phase(f"converting {source}")
    try:
        tokenizer = convert_checkpoint(Path(source), Path(target), ways[name])
    except KeyboardInterrupt:
        interrupted("nothing was written")
    finally:
        progress.stop()
    lacking = "" if tokenizer else "; it has no tokenizer.json, without which it cannot talk"
    emit({"checkpoint": target, "tokenizer": tokenizer}, as_json, f"{target}: written{lacking}")
