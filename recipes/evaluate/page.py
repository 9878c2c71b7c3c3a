"""An evaluation for a person: its figures and answers as text, and as a page to listen to."""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

from anytalk.pipelines.report import BESIDE, page, table

PAGE = "report.html"
"""The page's name, beside evaluation.json and the sound files."""

KINDS = {"exact": "training recordings", "respoken": "re-synthesised questions"}
"""What the kinds of questions in evaluation.json are called."""

TERMS = {
    KINDS["exact"]: "questions of the dataset, asked with the very recordings.",
    KINDS["respoken"]: "the same questions spoken again, faster or slower than in any recording of the dataset.",
    "text right": "the model's text is the reference answer, apart from case and punctuation.",
    "WER": "word error rate: wrong, missing and extra words as a share of the reference's words; 0% is perfect.",
    "WER of the text": "the model's text against the reference answer.",
    "WER of the speech": "what Whisper hears in the model's speech, against the model's text.",
    "codec ceiling": "the WER of reference answers after encode and decode: no speech through this codec does better.",
    "time to first audio": "from the end of the question to the first samples of the answer.",
    "RTF": "real-time factor: seconds of work for a second of speech; below 1 it keeps up.",
}


def answer_page(model: str, dataset: str, day: date, result: Mapping[str, Any]) -> str:
    """Write the page.

    Args:
        model: what was evaluated.
        dataset: whose questions were asked.
        day: when.
        result: content of evaluation.json; the page lies beside its sound files.
    """
    figures = (
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in figure_lines(result["figures"])
    )
    terms = (f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in TERMS.items())
    answers = table(
        ["question", "answer", "heard in the answer's speech", "measured"],
        map(_cells, sorted(result["answers"], key=_failures_first)),
        "answers",
    )
    body = [
        f"<p>{day.isoformat()}. Wrong answers come first.</p>",
        f'<table class="figures">{"".join(figures)}</table>',
        f"<details><summary>What the terms mean</summary><dl>{''.join(terms)}</dl></details>",
        *(f'<p class="wrong">{escape(line)}</p>' for line in failed_lines(result.get("failed", ()))),
        answers,
    ]
    return page(f"Evaluation of {model} on {dataset}", "\n".join(body), media=BESIDE)


def _failures_first(answer: Mapping[str, Any]) -> tuple[bool, float, float]:
    """Order by: wrong texts, then words wrong in the text, then in the speech."""
    speech_wer = 1.0 if answer["speech_wer"] is None else answer["speech_wer"]
    return answer["text_right"], -answer["text_wer"], -speech_wer


def _cells(answer: Mapping[str, Any]) -> list[str]:
    right, reference = "", ""
    if not answer["text_right"]:
        right, reference = ' class="wrong"', f"<br><small>reference: {escape(answer['reference'])}</small>"
    asked = f"{KINDS[answer['kind']]}: {answer['voice']}"
    return [
        f"{escape(answer['question'])}<br><small>{escape(asked)}</small>{_player(answer['question_audio'])}",
        f"<span{right}>{escape(answer['text'])}</span>{reference}{_player(answer['answer_audio'])}",
        escape(answer["heard"]),
        escape(measured(answer)),
    ]


def _player(path: str | None) -> str:
    return f'<audio controls preload="none" src="{escape(path)}"></audio>' if path else ""


def figure_lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each figure."""
    lines = []
    for kind, said in KINDS.items():
        if f"questions_{kind}" not in figures:
            continue
        lines += [
            (f"{said}: text right", f"{figures[f'text_right_{kind}']:.0%} of {figures[f'questions_{kind}']}"),
            (f"{said}: WER of the text", f"{figures[f'text_wer_{kind}']:.1%}"),
            (f"{said}: WER of the speech", f"{figures[f'speech_wer_{kind}']:.1%}"),
        ]
        if (first_s := figures[f"seconds_to_first_audio_{kind}"]) is not None:
            factor = figures[f"real_time_factor_{kind}"]
            lines.append((f"{said}: time to first audio, RTF", f"{first_s:.2f} s, {factor:.2f}"))
    ceiling = figures["codec_ceiling_wer"]
    return [*lines, ("codec ceiling: WER of reference answers after encode and decode", f"{ceiling:.1%}")]


def answer_lines(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was asked, answered, heard and measured, four lines each."""
    lines = []
    for answer in answers:
        mark = "right" if answer["text_right"] else "WRONG"
        lines += [
            f"{mark}  {answer['question']}  [{KINDS[answer['kind']]}: {answer['voice']}]",
            f"       {answer['text']}",
            f"       heard: {answer['heard']}",
            f"       {measured(answer)}",
        ]
    return lines


def failed_lines(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Questions that could not be asked or measured, a line each."""
    return [f"FAILED {each['question']}  [{KINDS[each['kind']]}, row {each['id']}]: {each['error']}" for each in failed]


def measured(answer: Mapping[str, Any]) -> str:
    """Error rates and times of one answer, in words; see `evaluation.EvaluatedAnswer`."""

    def shown(key: str, form: str) -> str:
        return "-" if answer[key] is None else format(answer[key], form)

    return (
        f"WER of the text {shown('text_wer', '.0%')}, of the speech {shown('speech_wer', '.0%')}, codec ceiling "
        f"{shown('codec_wer', '.0%')}; time to first audio {shown('seconds_to_first_audio', '.2f')} s, "
        f"RTF {shown('real_time_factor', '.2f')}"
    )
