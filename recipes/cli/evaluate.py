"""`anytalk eval`: how well a trained model talks, on its own questions or in a suite."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from anytalk.recipes.device import Device, ModelDtype
from anytalk.synth.errors import SetupError

from .console import Json, emit, interrupted, require_run

app = typer.Typer()

SuiteName = Literal["asr", "tts", "text", "speech"]
PANEL = "Suites"


def _option(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=PANEL, **more)


Suite = Annotated[SuiteName | None, _option("Measure one thing on any data instead: asr, tts, text or speech.")]
Config = Annotated[str | None, _option("Configuration of a dataset on the hub.")]
Limit = Annotated[int | None, _option("Ask only so many rows of each set.", min=1)]
Batch = Annotated[int, _option("Rows that are asked together.", min=1)]
MaxFrames = Annotated[int | None, _option("Longest answer, in codec frames of 85.3 ms.", min=1)]
Column = Annotated[
    list[str] | None,
    _option("Column of a table: question, answer, audio, id or language. Repeatable.", metavar="KIND=NAME"),
]
Language = Annotated[str, _option("BCP-47 tag of rows that name none.")]
StyleTag = Annotated[
    list[str] | None,
    _option("Such as '<laugh>': no word in any WER; a dataset's own are known. Repeatable.", metavar="TAG"),
]
Backbone = Annotated[
    str | None,
    _option("The language model alone, the ceiling of answers: hub id or folder; by default what RUN was made from."),
]
JudgeUrl = Annotated[str | None, _option("OpenAI-compatible endpoint of a language model that judges answers.")]
JudgeModel = Annotated[str | None, _option("Its model, as the endpoint knows it.")]
JudgeKey = Annotated[str | None, _option("NAME of the environment variable that holds its key.", metavar="NAME")]
MosName = Annotated[str, _option("Rating of speech: p808, p835, utmos:FILE.onnx.")]
Card = Annotated[
    bool, _option("Write the figures into the model card, README.md, of the checkpoint.", "--card/--no-card")
]

# A paragraph each.
EPILOG = """Examples:\n
anytalk eval out/quickstart/talker out/quickstart/dataset --out out/quickstart/answers\n
anytalk eval RUN DATASET --device cuda --dtype bfloat16\n
anytalk eval RUN librispeech --suite asr --device cuda --batch 32\n
anytalk eval RUN DATASET --suite tts --split test\n
anytalk eval RUN fixie-ai/llama-questions --suite speech --judge-url http://localhost:8000/v1 --judge-model qwen\n
anytalk eval RUN hlt-lab/voicebench --suite speech --config sd-qa --split usa"""


@app.command("eval", epilog=EPILOG)
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint's folder, or a training run's (its best).")],
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]",
            help="The dataset that it was trained on. For a suite any dataset, folder, table or hub id; "
            "librispeech by default for asr.",
        ),
    ] = None,
    suite: Suite = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for sounds, evaluation.json and report.html; by default RUN/evaluation, RUN/evaluation/SUITE."
        ),
    ] = None,
    exact: Annotated[int, typer.Option(min=0, help="Recordings of the dataset that are asked as they are.")] = 16,
    respoken: Annotated[
        int, typer.Option(min=0, help="Questions spoken again, faster or slower than in any recording.")
    ] = 16,
    split: Annotated[
        str | None, typer.Option(help="Split that is asked; by default train, and test for a suite.")
    ] = None,
    recogniser: Annotated[
        str | None,
        typer.Option(help="A Whisper that listens to the answers, such as openai:medium; the model's own by default."),
    ] = None,
    config: Config = None,
    limit: Limit = None,
    batch: Batch = 8,
    max_frames: MaxFrames = None,
    column: Column = None,
    language: Language = "en",
    style_tag: StyleTag = None,
    backbone: Backbone = None,
    judge_url: JudgeUrl = None,
    judge_model: JudgeModel = None,
    judge_key_env: JudgeKey = None,
    mos: MosName = "p808",
    card: Card = True,
    device: Device = "auto",
    dtype: ModelDtype = "float32",
    as_json: Json = False,
) -> None:
    """Ask a model its dataset's questions, as recorded and re-synthesised, or measure it in a suite on any data.

    Suites: asr transcribes (A1T1), tts reads aloud (T1A1), text answers in writing (T1T2), speech answers recordings
    (A1T2, A1A2).
    """
    require_run(run, local=True)
    if suite is not None:
        from anytalk.recipes.suites import SuiteOptions, evaluate_suite

        options = SuiteOptions(
            run=run,
            suite=suite,
            name=dataset,
            out=out,
            split=split,
            config=config,
            limit=limit,
            batch=batch,
            max_frames=max_frames,
            columns=column,
            language=language,
            style_tags=style_tag,
            backbone=backbone,
            judge_url=judge_url,
            judge_model=judge_model,
            judge_key_env=judge_key_env,
            mos=mos,
            card=card,
            recogniser=recogniser,
            device=device,
            dtype=dtype,
        )
        try:
            result, lines = evaluate_suite(options)
        except KeyboardInterrupt:
            interrupted("the same command starts over")
        emit(result, as_json, "\n".join(lines))
        return
    if dataset is None:
        raise SetupError("name the dataset that the model was trained on, or what to measure with --suite")
    from anytalk.pipelines.progress import reporter
    from anytalk.recipes import evaluate as evaluation
    from anytalk.recipes.talk import Talker, load_engines, load_model
    from anytalk.synth.hearing import load_whisper

    progress = reporter()
    progress.phase("loading the model and its engines")
    folder = out or run / "evaluation"
    try:
        model = load_model(run, device, dtype)
        talker = Talker(model, *load_engines(model, device=device))
        judge = load_whisper(recogniser, device=device) if recogniser else None
        result = evaluation.evaluate(
            talker,
            dataset,
            folder,
            exact=exact,
            respoken=respoken,
            progress=progress,
            split=split or "train",
            device=device,
            recogniser=judge,
        )
    except KeyboardInterrupt:
        interrupted("the same command starts over")
    finally:
        progress.stop()
    page = folder / evaluation.PAGE
    page.write_text(evaluation.answer_page(str(run), dataset, date.today(), result), encoding="utf-8")
    figures = [f"{name:<64} {value}" for name, value in evaluation.figure_lines(result["figures"])]
    asked = [*evaluation.answer_lines(result["answers"]), *evaluation.failed_lines(result["failed"])]
    lines = [*asked, "", *figures, "", f"{page}: the same, to listen to"]
    emit(result, as_json, "\n".join(lines))
