"""`anytalk codec`: train a small codec, and measure any."""

from pathlib import Path
from typing import Annotated

import typer

from anytalk.recipes.device import CodecDtype, Device

from .console import Json, RecipeName, Set, emit, interrupted, overrides

app = typer.Typer(name="codec", help="Train a small codec, and measure any codec.", no_args_is_help=True)


@app.command("train", epilog="Example:  anytalk codec train codec --out out/codec")
def codec_train(
    recipe: RecipeName = "codec",
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("out/codec"),
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Train a small codec from text to weights, or go on with a run; then measure it."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.codec import figures_table, load_codec_recipe, train_codec

    loaded = load_codec_recipe(recipe, overrides(settings))
    try:
        result = train_codec(loaded, out, reporter())
    except KeyboardInterrupt:
        interrupted(f"the last checkpoint is in {out}; the same command goes on from there")
    emit(result, as_json, f"{out}: {result['weights']}\n{figures_table(result['figures'])}")


@app.command(
    "eval",
    epilog="Examples:  anytalk codec eval bundled  |  "
    "anytalk codec eval hubertsiuzdak/snac_24khz --voice mine.onnx  |  "
    "anytalk codec eval hubertsiuzdak/snac_24khz --device cuda --dtype float16",
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
    device: Device = "auto",
    dtype: CodecDtype = "float32",
    as_json: Json = False,
) -> None:
    """Measure a codec on held-out sentences: WER, DNSMOS and mels before and after, codebook use, speed, size."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.codec import VOICES, evaluate_codec, figures_table, held_out

    voices = voice or list(VOICES)
    texts = held_out(text, sentences)
    try:
        figures = evaluate_codec(codec, voices, texts, reporter(), out, recogniser, language, device, dtype)
    except KeyboardInterrupt:
        interrupted("the same command starts over")
    emit(figures, as_json, figures_table(figures))
