"""`anytalk eval`: how well a trained model talks."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from anytalk.recipes.device import Device, ModelDtype

from .console import Json, emit, require_run

app = typer.Typer()

EPILOG = (
    "Examples:  anytalk eval out/quickstart/talker out/quickstart/dataset --out out/quickstart/answers  |  "
    "anytalk eval RUN DATASET --device cuda --dtype bfloat16"
)


@app.command("eval", epilog=EPILOG)
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint's folder, or a training run's (its best).")],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The dataset that it was trained on.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for sounds, evaluation.json and report.html; RUN/evaluation by default.")
    ] = None,
    exact: Annotated[int, typer.Option(min=0, help="Recordings of the dataset that are asked as they are.")] = 16,
    respoken: Annotated[
        int, typer.Option(min=0, help="Questions spoken again, faster or slower than in any recording.")
    ] = 16,
    split: Annotated[str, typer.Option(help="Split that the questions are taken from.")] = "train",
    recogniser: Annotated[
        str | None,
        typer.Option(help="A Whisper that listens to the answers, such as openai:medium; the model's own by default."),
    ] = None,
    device: Device = "auto",
    dtype: ModelDtype = "float32",
    as_json: Json = False,
) -> None:
    """Ask a model its dataset's questions, as recorded and re-synthesised; measure its texts and its speech."""
    require_run(run)
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes import evaluate as evaluation
    from anytalk.recipes.talk import Talker, load_engines, load_model
    from anytalk.synth.hearing import load_whisper

    model = load_model(run, device, dtype)
    talker = Talker(model, *load_engines(model, device=device))
    judge = load_whisper(recogniser, device=device) if recogniser else None
    folder = out or run / "evaluation"
    result = evaluation.evaluate(
        talker,
        dataset,
        folder,
        exact=exact,
        respoken=respoken,
        progress=reporter(),
        split=split,
        device=device,
        recogniser=judge,
    )
    page = folder / evaluation.PAGE
    page.write_text(evaluation.answer_page(str(run), dataset, date.today(), result), encoding="utf-8")
    figures = [f"{name:<64} {value}" for name, value in evaluation.figure_lines(result["figures"])]
    asked = [*evaluation.answer_lines(result["answers"]), *evaluation.failed_lines(result["failed"])]
    lines = [*asked, "", *figures, "", f"{page}: the same, to listen to"]
    emit(result, as_json, "\n".join(lines))
