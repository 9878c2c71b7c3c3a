"""The command line: `anytalk COMMAND`, one function each.

Every command prints a short summary, or with `--json` one JSON object on standard output; progress goes to standard
error. Exit codes: 0 done, 1 the thing asked about is not well, 2 wrong use, 130 interrupted.
"""

import dataclasses
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from anytalk.synth.errors import AnyTalkError, SampleError, SetupError

from . import clean as cli_clean
from . import evaluate as cli_eval
from . import judge as cli_judge
from . import talk as cli_talk
from .console import Json, Set, emit, interrupted, overrides

app = typer.Typer(
    name="anytalk",
    help="Build spoken-instruction datasets and train models on them until they talk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
codec_app = typer.Typer(help="Train a small codec, and measure any codec.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure speed beside the naive way, in one run.", no_args_is_help=True)
app.add_typer(codec_app, name="codec")
app.add_typer(bench_app, name="bench")

CONVERT_HELP = "FORMAT is what SRC is in, unless --to says what DST will be in. DST is a new folder."
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a YAML file.")]


def main() -> None:
    """Run the command line."""
    try:
        app()
    except AnyTalkError as error:
        for line in str(error).splitlines():
            typer.echo(f"anytalk: {line}", err=True)
        # What the user gave is wrong, or else the machinery failed and the same command may go on later.
        sys.exit(2 if isinstance(error, SetupError | SampleError) else 1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anytalk {metadata.version('anytalk')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build spoken-instruction datasets and train models on them until they talk."""


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
    from anytalk.pipelines.recipe.dataset import load_recipe
    from anytalk.recipes.shipped import find

    loaded = load_recipe(find(recipe, "build"), overrides(settings))
    target = out or f"out/{loaded.name}"
    try:
        summary = pipelines.build(loaded, target, local=local, progress=reporter())
    except KeyboardInterrupt:
        interrupted(f"what is finished is kept in {target}; the same command goes on from there")
    emit(dataclasses.asdict(summary) | {"complete": summary.complete}, as_json, _build_text(summary))
    raise typer.Exit(0 if summary.complete else 1)


def _build_text(summary: Any) -> str:
    from anytalk.pipelines.dataset import tally

    reasons = ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items()) or "none"
    splits = ", ".join(f"{split} {count}" for split, count in summary.splits.items())
    pace = summary.speech_hours_per_work_hour
    lines = [
        f"{summary.dataset}: {'complete' if summary.complete else 'NOT complete'}",
        f"  accepted   {summary.rows_accepted} rows ({splits}), {summary.rows_rerolled} of them after another attempt",
        f"  rejected   {summary.rows_rejected} rows: {reasons}",
        *(f"  {line}" for line in tally.text(summary.gates)),
        f"  deferred   {summary.rows_deferred} rows",
        f"  speech     {summary.speech_hours:.3f} h"
        + (f", {pace:.1f} h an hour of work" if pace else ", nothing was left to do"),
        "  seconds    " + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in summary.seconds.items()),
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


app.command(epilog=cli_clean.DEDUP_EPILOG)(cli_clean.dedup)
app.command(epilog=cli_clean.DECONTAMINATE_EPILOG)(cli_clean.decontaminate)


@app.command(epilog="Example:  anytalk train talker --data out/quickstart/dataset --out out/talker")
def train(
    recipe: RecipeName,
    data: Annotated[
        list[str] | None, typer.Option(metavar="DATASET", help="Folder that anytalk build wrote; repeatable.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the run; out/NAME by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; more than one run through Ray Train.")] = 1,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard files as well.")] = False,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Train a model from a recipe, stage after stage, or go on with a run."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.train.recipe import load_training_recipe
    from anytalk.recipes.train.run import train as run_training
    from anytalk.recipes.train.stage import TrainingStopped

    loaded = load_training_recipe(recipe, overrides(settings) | ({"data.datasets": data} if data else {}))
    target = out or f"out/{loaded.name}"
    try:
        summary = run_training(loaded, target, workers=workers, progress=reporter(), tensorboard=tensorboard)
    except KeyboardInterrupt:
        interrupted(f"the last checkpoint is in {target}; the same command goes on from there")
    except TrainingStopped as error:
        typer.echo(f"anytalk: {error}", err=True)
        raise typer.Exit(1) from error
    emit(summary, as_json, _training_text(summary))


def _training_text(summary: dict[str, Any]) -> str:
    loss = "" if summary["loss"] is None else f", loss {summary['loss']:.3f}"
    lines = [f"{summary['run']}: {summary['step']} steps{loss}"]
    if summary["best_loss"] is not None:
        lines.append(f"  validation {summary['best_loss']:.3f} at step {summary['best_step']}, the last stage's lowest")
    pace = f", {summary['positions_per_s']:,.0f} a second" if summary["positions_per_s"] else ""
    lines.append(f"  positions  {summary['positions']:,}{pace}")
    lines.append(f"  best       {summary['best']}")
    return "\n".join(lines)


app.command(epilog=cli_judge.EPILOG)(cli_judge.judge)
app.command(epilog=cli_talk.EPILOG)(cli_talk.talk)
app.command("eval", epilog=cli_eval.EPILOG)(cli_eval.evaluate)


@app.command(
    epilog="Examples:  anytalk convert mini-omni original/ mine/  |  anytalk convert --to mini-omni RUN/best original/"
)
def convert(
    arguments: Annotated[list[str], typer.Argument(metavar="[FORMAT] SRC DST", help=CONVERT_HELP)],
    to: Annotated[str | None, typer.Option("--to", metavar="FORMAT", help="Write another format instead.")] = None,
    as_json: Json = False,
) -> None:
    """Read a checkpoint of another format, or write one with --to. The format is mini-omni, the original's."""
    from anytalk.recipes.train import convert as conversion

    if len(arguments) != (3 if to is None else 2):
        raise SetupError("give FORMAT SRC DST, such as mini-omni original/ mine/; or --to FORMAT SRC DST")
    name, source, target = [*([] if to is None else [to]), *arguments]
    ways = conversion.FROM if to is None else conversion.TO
    if name not in ways:
        raise SetupError(f"no checkpoint format is called {name!r}; there is: {', '.join(ways)}")
    tokenizer = conversion.convert(Path(source), Path(target), ways[name])
    lacking = "" if tokenizer else "; it has no tokenizer.json, without which it cannot talk"
    emit({"checkpoint": target, "tokenizer": tokenizer}, as_json, f"{target}: written{lacking}")


@app.command(epilog="Example:  anytalk doctor --json")
def doctor(as_json: Json = False) -> None:
    """Say which engines work here, what to install for the others, and every voice's licence."""
    from . import doctor as examination

    findings = examination.examine()
    emit([dataclasses.asdict(finding) for finding in findings], as_json, examination.describe(findings))
    raise typer.Exit(0 if all(finding.works or finding.optional for finding in findings) else 1)


@codec_app.command("train", epilog="Example:  anytalk codec train codec --out out/codec")
def codec_train(
    recipe: RecipeName = "codec",
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("out/codec"),
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Train a small codec from text to weights, or go on with a run; then measure it."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.codec import train as train_codec

    loaded = train_codec.load_codec_recipe(recipe, overrides(settings))
    try:
        result = train_codec.train(loaded, out, reporter())
    except KeyboardInterrupt:
        interrupted(f"the last checkpoint is in {out}; the same command goes on from there")
    emit(result, as_json, f"{out}: {result['weights']}\n{train_codec.table(result['figures'])}")


@codec_app.command(
    "eval",
    epilog="Examples:  anytalk codec eval bundled  |  anytalk codec eval hubertsiuzdak/snac_24khz --voice mine.onnx",
)
def codec_eval(
    codec: Annotated[str, typer.Argument(metavar="CODEC", help="bundled, a folder, a .safetensors file or a hub id.")],
    voice: Annotated[list[str] | None, typer.Option(help="Voices that speak; repeatable.")] = None,
    sentences: Annotated[int, typer.Option(min=1, help="Held-out sentences a voice.")] = 100,
    text: Annotated[
        Path | None, typer.Option(help="File of sentences, one a line, instead of the shipped ones.")
    ] = None,
    recogniser: Annotated[
        str, typer.Option(help="Whisper that listens; one that no training heard with, such as small.en, is fairer.")
    ] = "tiny.en",
    language: Annotated[str, typer.Option(help="Language of the sentences.")] = "en",
    out: Annotated[Path | None, typer.Option(help="Folder for examples to listen to, before and after.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a codec on held-out sentences: WER, DNSMOS and mels before and after, codebook use, speed, size."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.codec import evaluate as eval_codec

    voices = voice or list(eval_codec.VOICES)
    texts = eval_codec.held_out(text, sentences)
    figures = eval_codec.evaluate(codec, voices, texts, reporter(), out, recogniser, language)
    emit(figures, as_json, eval_codec.table(figures))


@bench_app.command("build", epilog="Example:  anytalk bench build --conversations 24")
def bench_build(
    recipe: RecipeName = "quickstart",
    conversations: Annotated[int, typer.Option(min=1, help="How many of the recipe's conversations.")] = 24,
    local: Annotated[bool, typer.Option("--local", help="Run in this process instead of on Ray.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a build in seconds of speech a second, beside the plain script that does one row at a time."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import build as bench

    figures = bench.bench_build(recipe, conversations, local, reporter())
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in figures["seconds"].items())
    naive = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in figures["naive_seconds"].items())
    lines = [
        f"build: {figures['value']} {figures['unit']}, naive {figures['naive']}, {figures['ratio']} times as fast",
        f"  {figures['share_of_bound']:.0%} of the bound {figures['bound']}: all stage seconds spread over all cores",
        f"  {figures['rows']} rows, {figures['speech_s']} s of speech; stages: {stages}; naive: {naive}",
        f"  {figures['machine']}; commit {figures['commit']}",
    ]
    emit(figures, as_json, "\n".join(lines))


@bench_app.command(
    "codec", epilog="Examples:  anytalk bench codec --compiled  |  anytalk bench codec bundled --seconds 30"
)
def bench_codec(
    codec: Annotated[
        str | None, typer.Argument(metavar="CODEC", help="See anytalk codec eval; SNAC with random weights by default.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How much speech, at least.")] = 60.0,
    cores: Annotated[int, typer.Option(min=1, help="Threads of the plain loop, processes of the codec.")] = 1,
    compiled: Annotated[bool, typer.Option("--compiled", help="Compile SNAC; takes a C++ compiler.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a codec in seconds of speech a second, beside the plain loop over its network."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import codec as bench

    figures = bench.bench_codec(codec, seconds, cores, compiled, reporter())
    emit(figures, as_json, bench.text(figures))


@bench_app.command("dedup", epilog="Example:  anytalk bench dedup --conversations 100000")
def bench_dedup(
    conversations: Annotated[int, typer.Option(min=100, help="How many, a tenth of them copies.")] = 20_000,
    as_json: Json = False,
) -> None:
    """Measure near-duplicate removal in conversations a second, beside a plain script, and how much it finds."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import dedup as bench

    figures = bench.bench_dedup(conversations, reporter())
    emit(figures, as_json, bench.text(figures))


@bench_app.command("hear", epilog="Example:  anytalk bench hear --questions 32")
def bench_hear(
    recipe: RecipeName = "quickstart",
    questions: Annotated[int, typer.Option(min=1, help="How many of the recipe's questions.")] = 60,
    whisper: Annotated[str, typer.Option(help="A Whisper, as features.model names it.")] = "tiny.en",
    as_json: Json = False,
) -> None:
    """Measure hearing in seconds of speech a second with features.context short, beside full, and what it costs."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import hear as bench

    figures = bench.bench_hear(recipe, questions, whisper, reporter())
    emit(figures, as_json, bench.text(figures))


@bench_app.command("load", epilog="Example:  anytalk bench load out/quickstart/dataset")
def bench_load(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder that anytalk build wrote.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each repeat of each way.")] = 5.0,
    positions: Annotated[int, typer.Option(min=64, help="Largest batch, padding included.")] = 8192,
    cores: Annotated[int, typer.Option(min=1, help="Threads of the model whose appetite is measured.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure the loader in positions a second, beside the datasets library and what training eats."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import load as bench

    figures = bench.bench_load(dataset, seconds, positions, cores, reporter())
    emit(figures, as_json, bench.text(figures))


@bench_app.command("train", epilog="Example:  anytalk bench train out/quickstart/dataset --cores 2")
def bench_train(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder that anytalk build wrote.")],
    positions: Annotated[int, typer.Option(min=64, help="Of a batch; 1024 suit a processor, 16384 a GPU.")] = 1024,
    cores: Annotated[int, typer.Option(min=1, help="Threads of both.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure training in positions a second that are no padding, beside a plain padded loop with all logits."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import train as bench

    figures = bench.bench_train(dataset, positions, cores, reporter())
    emit(figures, as_json, bench.text(figures))


@bench_app.command("talk", epilog="Examples:  anytalk bench talk --cores 2  |  anytalk bench talk out/talker/best")
def bench_talk(
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="CHECKPOINT", help="A model's folder; the 0.5B shape with random weights by default."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1500, help="Of each repeat, and to compare tokens over.")] = 50,
    cores: Annotated[int, typer.Option(min=1, help="Threads of both.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure decoding in milliseconds a step, beside a plain float32 loop, and how far int8 says the same."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import talk as bench

    figures = bench.bench_talk(checkpoint, steps, cores, reporter())
    emit(figures, as_json, bench.text(figures))
