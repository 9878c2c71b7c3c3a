"""`anytalk bench`: the benchmarks."""

from typing import Annotated

import typer

from .console import Json, RecipeName, emit

app = typer.Typer(name="bench", help="Measure speed beside the naive way, in one run.", no_args_is_help=True)


@app.command("build", epilog="Example:  anytalk bench build --conversations 24")
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


@app.command("codec", epilog="Examples:  anytalk bench codec --compiled  |  anytalk bench codec bundled --seconds 30")
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


@app.command("dedup", epilog="Example:  anytalk bench dedup --conversations 100000")
def bench_dedup(
    conversations: Annotated[int, typer.Option(min=100, help="How many, a tenth of them copies.")] = 20_000,
    as_json: Json = False,
) -> None:
    """Measure near-duplicate removal in conversations a second, beside a plain script, and how much it finds."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.bench import dedup as bench

    figures = bench.bench_dedup(conversations, reporter())
    emit(figures, as_json, bench.text(figures))


@app.command("hear", epilog="Example:  anytalk bench hear --questions 32")
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


@app.command("load", epilog="Example:  anytalk bench load out/quickstart/dataset")
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


@app.command("train", epilog="Example:  anytalk bench train out/quickstart/dataset --cores 2")
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


@app.command("talk", epilog="Examples:  anytalk bench talk --cores 2  |  anytalk bench talk out/talker/best")
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
