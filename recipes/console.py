"""What the commands share: options, and how a result or an interruption is told."""

import json
from typing import Annotated, NoReturn

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def emit(result: object, as_json: bool, text: str) -> None:
    """Print a result for a program or for a person."""
    typer.echo(json.dumps(result) if as_json else text)


def interrupted(advice: str) -> NoReturn:
    """Say how to go on, and end with the exit code of an interruption."""
    typer.echo(f"anytalk: interrupted; {advice}", err=True)
    raise typer.Exit(130)
