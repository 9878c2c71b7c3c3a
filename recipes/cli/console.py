"""What the commands share: options, and how a result or an interruption is told."""

import json
import re
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from anytalk.synth.errors import SetupError

RUN_HELP = "A checkpoint's folder, a training run's (its best), or OWNER/NAME on the hub."

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value, such as voices.variants=3. Repeatable."),
]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="Go on although rows were made with other engines or library versions.")
]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a YAML file.")]


def emit(result: object, as_json: bool, text: str) -> None:
    """Print a result for a program or for a person."""
    typer.echo(json.dumps(result) if as_json else text)


def interrupted(advice: str) -> NoReturn:
    """Say how to go on, and end with the exit code of an interruption."""
    typer.echo(f"anytalk: interrupted; {advice}", err=True)
    raise typer.Exit(130)


def require_run(run: Path, *, local: bool = False) -> None:
    """Look for a model at once, since loading what reads it takes seconds; the hub is asked when it is loaded.

    Args:
        run: a checkpoint, a training run, or an id of the hub.
        local: an id of the hub will not do.

    Raises:
        SetupError: there is nothing of that name.
    """
    # As `anytalk.model.is_hub_id`, which would import torch.
    if not run.exists() and (local or not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?", str(run))):
        other = "" if local else ", or OWNER/NAME on the hub"
        raise SetupError(f"{run} does not exist; name a checkpoint or a training run{other}")


def overrides(settings: list[str] | None) -> dict[str, object]:
    """Read `--set` options.

    Raises:
        SetupError: one has no equals sign.
    """
    found: dict[str, object] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise SetupError(f"--set {setting!r} must be KEY=VALUE, such as --set voices.variants=3")
        found[key] = value
    return found
