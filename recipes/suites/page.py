"""A suite's result for a person: a page with the table and the worst answers, to read and to listen to."""

from collections.abc import Mapping
from datetime import date
from html import escape
from typing import Any

from anytalk.pipelines.report import BESIDE, page, table

from .figure import COLUMNS, NAMES, TERMS, shown, table_rows
from .suite import badness

MOST_ROWS = 200
"""Answers on the page; evaluation.json holds all."""
MOST_FAILED = 50

TITLES = {
    "asr": "Speech recognition",
    "tts": "Text to speech",
    "text": "Questions in writing",
    "speech": "Spoken questions",
}


def suite_page(model: str, day: date, result: Mapping[str, Any]) -> str:
    """Write the page.

    Args:
        model: what was evaluated.
        day: when.
        result: content of evaluation.json; the page lies beside its sound files.
    """
    cells = table_rows(result["figures"])
    used = [k for k in range(len(COLUMNS)) if any(row[k] for row in cells)]
    answers = sorted(result["answers"], key=_worst_first)
    rows = answers[:MOST_ROWS]
    cut = f"The {len(rows)} worst answers of {len(answers)}; all are in evaluation.json."
    terms = (f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in TERMS.items())
    body = [
        f"<p>{day.isoformat()}. {escape(_made_with(result))}</p>",
        table([COLUMNS[k] for k in used], ([escape(row[k]) for k in used] for row in cells)),
        f"<details><summary>What the terms mean</summary><dl>{''.join(terms)}</dl></details>",
        *(f'<p class="wrong">{escape(line)}</p>' for line in failed_lines(result)),
        f"<p>{cut if len(rows) < len(answers) else f'{len(answers)} answers, the worst first.'}</p>",
        table(["asked", "answers"], map(_cells, rows), "answers"),
    ]
    return page(f"{TITLES[result['suite']]}: {model}", "\n".join(body), media=BESIDE)


def failed_lines(result: Mapping[str, Any]) -> list[str]:
    """Rows that could not be asked or measured, a line each; of many, the first ones."""
    failed = result["failed"]
    lines = [f"FAILED {each['set']} {each['id']}: {each['error']}" for each in failed[:MOST_FAILED]]
    return lines + ([f"... and {len(failed) - MOST_FAILED} more"] if len(failed) > MOST_FAILED else [])


def _made_with(result: Mapping[str, Any]) -> str:
    names = {"recogniser": "Heard by", "judge": "Judged by", "backbone": "Backbone:", "mos": "MOS predicted by"}
    return " ".join(f"{said} {result[key]}." for key, said in names.items() if result[key])


def _badness(answer: Mapping[str, Any]) -> float:
    return badness({label: said["scores"] for label, said in answer["said"].items()})


def _worst_first(answer: Mapping[str, Any]) -> tuple[float, bool]:
    return -_badness(answer), not answer["sounds"]


def _cells(answer: Mapping[str, Any]) -> list[str]:
    wrong = ' class="wrong"' if _badness(answer) >= 0.5 else ""
    references = f"<br><small>right: {escape(' / '.join(answer['references']))}</small>" if answer["references"] else ""
    said = "".join(
        f"<p><small>{escape(label)}: {escape(_scores(each['scores']))}</small><br>"
        f"<span{wrong}>{escape(each['text']) or '&mdash;'}</span>{_player(answer['sounds'].get(label))}</p>"
        for label, each in answer["said"].items()
    )
    return [
        f"{escape(answer['question'])}{references}<br><small>{escape(answer['set'])}, {escape(answer['id'])}</small>"
        f"{_player(answer['sounds'].get('question'))}",
        said,
    ]


def _scores(scores: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(
        f"{NAMES[measure]} {shown(measure, above / below) if below else '-'}"
        for measure, (above, below) in scores.items()
    )


def _player(path: str | None) -> str:
    return f'<audio controls preload="none" src="{escape(path)}"></audio>' if path else ""
