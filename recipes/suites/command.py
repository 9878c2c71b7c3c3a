"""What `anytalk eval --suite` does: find the data, load the engines, measure, and write result, page and card."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from anytalk.pipelines.progress import reporter
from anytalk.recipes.evaluate import PAGE
from anytalk.recipes.talk import Talker, load_engines, load_model
from anytalk.synth.device import Dtype
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import load_whisper
from anytalk.synth.judge import load_mos

from . import backbone
from .ask import Engines, SuiteName
from .card import write_card
from .figure import table_lines
from .item import KNOWN
from .judge import Judge, judge_endpoint
from .page import failed_lines, suite_page
from .sets import LIBRISPEECH, Reading, evaluation_sets
from .suite import JUDGE_FOLDER, Settings, run_suite


@dataclass(frozen=True)
class SuiteOptions:
    """What was asked for on the command line."""

    run: Path
    suite: SuiteName
    name: str | None
    out: Path | None
    split: str | None
    config: str | None
    limit: int | None
    batch: int
    max_frames: int | None
    columns: list[str] | None
    language: str
    style_tags: list[str] | None
    backbone: str | None
    judge_url: str | None
    judge_model: str | None
    judge_key_env: str | None
    mos: str
    card: bool
    recogniser: str | None
    device: str
    dtype: Dtype


def evaluate_suite(options: SuiteOptions) -> tuple[dict[str, Any], list[str]]:
    """Run a suite, and write its result, its page and the model card.

    Returns:
        What evaluation.json holds, and the lines for a person.

    Raises:
        SetupError: something that was asked for is not there, or does not fit.
        EngineError: the judge or the hub failed on the way.
    """
    name = _dataset(options)
    columns = _columns(options.columns)
    tags = tuple(options.style_tags or ())
    sets = evaluation_sets(name, Reading(options.split, options.config, columns, options.language, tags))
    out = options.out or options.run / "evaluation" / options.suite
    judge = _judge(options, out)
    progress = reporter()
    progress.phase("loading the model and its engines")
    try:
        engines = _engines(options)
        settings = Settings(options.batch, options.limit)
        result = run_suite(options.suite, engines, sets, out, settings=settings, progress=progress, judge=judge)
    finally:
        progress.stop()
    page = out / PAGE
    page.write_text(suite_page(str(options.run), date.today(), result), encoding="utf-8")
    lines = [
        *failed_lines(result),
        *table_lines(result["figures"]),
        "",
        f"{page}: the answers, to read and to listen to",
    ]
    if options.card:
        assert engines.talker.model.folder is not None
        written = write_card(engines.talker.model.folder, options.run.resolve().name, result)
        lines.append(f"{written}: the model card")
    return result, lines


def _dataset(options: SuiteOptions) -> str:
    if options.name is not None:
        return options.name
    if options.suite == "asr":
        return LIBRISPEECH
    raise SetupError(f"name what --suite {options.suite} is to be measured on: a dataset, folder, table or hub id")


def _columns(given: list[str] | None) -> dict[str, str]:
    found = {}
    for each in given or []:
        kind, equals, column = each.partition("=")
        if not equals or not column or kind not in KNOWN:
            raise SetupError(f"--column {each!r} must be KIND=NAME, with a kind of {', '.join(KNOWN)}")
        found[kind] = column
    return found


def _judge(options: SuiteOptions, out: Path) -> Judge | None:
    """The judge, once it has answered.

    Raises:
        SetupError: half of it is named, it does not answer, or the suite has nothing to judge.
    """
    if options.judge_url is None and options.judge_model is None:
        return None
    if options.judge_url is None or options.judge_model is None:
        raise SetupError("a judge takes both --judge-url and --judge-model")
    if options.suite in ("asr", "tts"):
        raise SetupError(f"--suite {options.suite} has no answers to judge; leave --judge-url out")
    try:
        endpoint = judge_endpoint(options.judge_url, options.judge_model, options.judge_key_env)
    except ValueError as error:
        raise SetupError(f"the judge: {error}") from error
    judge = Judge(endpoint, out / JUDGE_FOLDER)
    judge.probe()
    return judge


def _engines(options: SuiteOptions) -> Engines:
    """Load the model and whoever listens, rates and is its ceiling."""
    device = options.device
    model = load_model(options.run, device, options.dtype)
    codec, whisper = load_engines(model, device=device)
    recogniser = load_whisper(options.recogniser, device=device) if options.recogniser else whisper
    mos = load_mos(options.mos, device) if options.suite == "tts" else None
    alone = None
    if options.suite in ("text", "speech") and (named := options.backbone or backbone.backbone_of(options.run)):
        alone = backbone.Backbone(named, device, options.dtype)
    return Engines(
        Talker(model, codec, whisper, max_frames=options.max_frames),
        recogniser,
        mos,
        options.mos if mos else "",
        alone,
    )
