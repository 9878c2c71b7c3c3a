"""`anytalk bench`: a command for each benchmark, whose module is loaded when it is run."""

import inspect
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from anytalk.recipes.bench import BENCHMARKS

from .console import Json, emit, interrupted

app = typer.Typer(
    name="bench", help="Measure speed, and compare it with a plain script in the same run.", no_args_is_help=True
)


class Benchmark(TyperCommand):
    """A command with the options of its module: loading those costs seconds, and `--help` of others goes without."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the command line with the options of the module."""
        assert self.name is not None
        return _command(self.name).make_context(info_name, args, parent, **extra)


def _command(name: str) -> Any:
    """Make the command of a benchmark: the parameters of its `bench`, and --json."""
    benchmark = import_module(f"anytalk.recipes.bench.{name}")

    def run(as_json: bool, **options: Any) -> None:
        from anytalk.pipelines.progress import reporter

        try:
            found = benchmark.bench(**options, progress=reporter())
        except KeyboardInterrupt:
            interrupted("nothing was written")
        emit(found, as_json, benchmark.text(found))

    parameters = inspect.signature(benchmark.bench, eval_str=True).parameters.values()
    options = [each for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    run.__signature__ = inspect.Signature([*options, as_json])  # type: ignore[attr-defined]
    alone = typer.Typer(add_completion=False)
    alone.command(name, help=BENCHMARKS[name], epilog=benchmark.EPILOG)(run)
    return typer.main.get_command(alone)


def _loaded_later() -> None:
    """Stand for a command until it is run."""


for benchmark, said in BENCHMARKS.items():
    app.command(benchmark, help=said, cls=Benchmark)(_loaded_later)
