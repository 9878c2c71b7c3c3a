"""The model card of a checkpoint: README.md with the results of suites, in the hub's metadata and as a table.

Source: https://huggingface.co/docs/hub/model-cards (the key `model-index`). Whatever else stands in the file stays:
only the metadata's results and what lies between two marks are written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from anytalk.model import CARD, new_card
from anytalk.synth.errors import SetupError

from .figure import COLUMNS, NAMES, table_rows
from .page import TITLES

BEGIN, END = "<!-- anytalk eval {what}: begin -->", "<!-- anytalk eval {what}: end -->"

TASKS = {
    "asr": "automatic-speech-recognition",
    "tts": "text-to-speech",
    "text": "question-answering",
    "speech": "question-answering",
}
"""The hub's names of what suites measure."""


def write_card(checkpoint: Path, model: str, result: Mapping[str, Any]) -> Path:
    """Write a suite's results into the card of a checkpoint; those of other suites stay.

    Args:
        checkpoint: its folder.
        model: name of the model, for a new card.
        result: content of evaluation.json.

    Raises:
        SetupError: the card that is there cannot be read, or the folder cannot be written.
    """
    path = checkpoint / CARD
    try:
        card = ModelCard.load(path) if path.is_file() else new_card(model)
    except (ValueError, OSError, TypeError, KeyError, yaml.YAMLError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SetupError(
            f"the model card {path} cannot be read: {first}; mend it, or leave it with --no-card"
        ) from error
    data = cast(ModelCardData, card.data)
    data.model_name = data.model_name or model
    data.eval_results = _merged(data.eval_results or [], _results(result))
    card.text = _with_section(card.text, result)
    partial = checkpoint / f".{CARD}.partial"
    try:
        partial.write_text(str(card), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}; leave the card with --no-card") from error
    return path


def _results(result: Mapping[str, Any]) -> list[EvalResult]:
    by_name = {each["name"]: each for each in result["sets"]}
    return [_result(result, by_name[figure["set"]], figure) for figure in result["figures"]]


def _result(result: Mapping[str, Any], on: Mapping[str, Any], figure: Mapping[str, Any]) -> EvalResult:
    details = {key: figure[key] for key in ("rows", "low", "high", "ceiling", "ceiling_value", "kept")}
    details |= {key: result[key] for key in ("recogniser", "mos", "judge", "backbone") if result[key]}
    # A path of this machine is nobody else's business.
    source = Path(on["source"]).name if Path(on["source"]).exists() else on["source"]
    return EvalResult(
        task_type=TASKS[result["suite"]],
        task_name=TITLES[result["suite"]],
        dataset_type=source,
        dataset_name=on["name"],
        dataset_config=on["config"],
        dataset_split=on["split"],
        metric_type=figure["measure"],
        metric_name=f"{figure['answerer']}: {NAMES[figure['measure']]}",
        metric_value=figure["value"],
        metric_args={key: value for key, value in details.items() if value is not None},
    )


def _merged(there: Sequence[EvalResult], new: Sequence[EvalResult]) -> list[EvalResult]:
    """Older results that were not measured again, and the new ones."""

    def key(each: EvalResult) -> tuple[str | None, ...]:
        return (each.task_name, each.dataset_type, each.dataset_name, each.dataset_config, each.dataset_split)

    again = set(map(key, new))
    return [*(each for each in there if key(each) not in again), *new]


def _with_section(text: str, result: Mapping[str, Any]) -> str:
    what = f"{result['suite']} {', '.join(_plain(each['name']) for each in result['sets'])}"
    begin, end = (mark.format(what=what) for mark in (BEGIN, END))
    cells = table_rows(result["figures"])
    used = [k for k in range(len(COLUMNS)) if any(row[k] for row in cells)]
    table = [
        "| " + " | ".join(_plain(COLUMNS[k]) for k in used) + " |",
        "|" + "---|" * len(used),
        *("| " + " | ".join(_plain(row[k]) for k in used) + " |" for row in cells),
    ]
    section = "\n".join([begin, f"## {TITLES[result['suite']]}", "", *table, end])
    before, found, rest = text.partition(begin)
    if not found:
        return f"{text.rstrip()}\n\n{section}\n"
    return before + section + rest.partition(end)[2]


def _plain(cell: str) -> str:
    """A cell of a table in Markdown."""
    return cell.replace("|", "\\|").replace("<", "&lt;").replace("-->", "--&gt;")
