"""The command line: `anytalk COMMAND`, one file a group of commands.

Every command prints a short summary, or with `--json` one JSON object on standard output; progress goes to standard
error. Exit codes: 0 done, 1 the thing asked about is not well, 2 wrong use, 130 interrupted.
"""

import os
import signal
import sys
from importlib import metadata
from typing import Annotated

import typer

from anytalk.synth.errors import AnyTalkError, SampleError, SetupError

from . import bench, build, clean, codec, doctor, evaluate, export, judge, serve, show, talk, train

HELP = "Build spoken-instruction datasets and train models on them until they talk."
GROUPS = (build, show, judge, clean, export, train, talk, serve, evaluate, codec, bench, doctor)
"""In the order of `anytalk --help`. They import engines, Ray and torch inside their commands: help comes at once."""

app = typer.Typer(
    name="anytalk",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in GROUPS:
    app.add_typer(group.app)


def main() -> None:
    """Run the command line."""
    # What ends a job on a cluster stops as cleanly as Ctrl-C does, and says how to go on.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs begin
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="anytalk")  # also as python -m anytalk.recipes, so that completion is of the command
    except AnyTalkError as error:
        for line in str(error).splitlines():
            typer.echo(f"anytalk: {line}", err=True)
        # What the user gave is wrong, or else the machinery failed and the same command may go on later.
        sys.exit(2 if isinstance(error, SetupError | SampleError) else 1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anytalk {metadata.version('anytalk')}")
        raise typer.Exit


@app.callback(help=HELP)
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""
