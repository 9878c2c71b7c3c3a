"""`anytalk eval`: how well a trained model talks."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Json, emit

app = typer.Typer()

EPILOG = "Example:  anytalk eval out/quickstart/talker out/quickstart/dataset --out out/quickstart/answers"
PAGE = "report.html"


@app.command("eval", epilog=EPILOG)
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint's folder, or a training run's (its best).")],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The dataset that it was trained on.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for sounds, evaluation.json and report.html; RUN/evaluation by default.")
    ] = None,
    exact: Annotated[int, typer.Option(min=0, help="Recordings of the dataset that are asked as they are.")] = 16,
    respoken: Annotated[
        int, typer.Option(min=0, help="Questions spoken anew, faster or slower than in any recording.")
    ] = 16,
    split: Annotated[str, typer.Option(help="Split that the questions are taken from.")] = "train",
    as_json: Json = False,
) -> None:
    """Ask a model its dataset's questions, as recorded and spoken anew; compare texts, and hear what it says."""
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes.evaluate import answer_page
    from anytalk.recipes.evaluate import evaluate as evaluate_model
    from anytalk.recipes.talk import Talker, load_engines, load_model

    model = load_model(run)
    talker = Talker(model, *load_engines(model))
    folder = out or run / "evaluation"
    result = evaluate_model(talker, dataset, folder, exact=exact, respoken=respoken, progress=reporter(), split=split)
    lines = figure_lines(result["figures"])
    (folder / PAGE).write_text(answer_page("What it answered", lines, result["answers"]), encoding="utf-8")
    text = "\n".join([answer_table(result["answers"]), "", *(f"{name:<44} {value}" for name, value in lines)])
    emit(result, as_json, f"{text}\n\n{folder / PAGE}: the same, to listen to")


def figure_lines(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each figure, for a person."""
    lines = []
    for kind in ("exact", "respoken"):
        if f"questions_{kind}" not in figures:
            continue
        lines += [
            (f"{kind}: text right", f"{figures[f'text_right_{kind}']:.0%} of {figures[f'questions_{kind}']} questions"),
            (f"{kind}: WER of the text", f"{figures[f'text_wer_{kind}']:.1%}"),
            (f"{kind}: WER of the speech against the text", f"{figures[f'speech_wer_{kind}']:.1%}"),
        ]
        if (first_s := figures[f"seconds_to_first_audio_{kind}"]) is not None:
            factor = figures[f"real_time_factor_{kind}"]
            lines.append((f"{kind}: first sound, work for a second of it", f"{first_s:.2f} s, {factor:.2f} s"))
    lines.append(("codec alone: WER of the reference's codes", f"{figures['codec_ceiling_wer']:.1%}"))
    return lines


def answer_table(answers: list[dict[str, Any]]) -> str:
    """What was asked, answered, heard and measured, four lines each."""
    from anytalk.recipes.evaluate import measured

    lines = []
    for answer in answers:
        mark = "right" if answer["text_right"] else "WRONG"
        lines += [
            f"{answer['kind']:<9} {mark}  {answer['question']}  [{answer['voice']}]",
            f"{'':17}{answer['text']}",
            f"{'':17}heard: {answer['heard']}",
            f"{'':17}{measured(answer)}",
        ]
    return "\n".join(lines)
