"""A page to listen to: every question that was asked and what the model answered, as text and as sound."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0; }}
th, td {{ border-bottom: 1px solid #ccc; padding: .5rem; text-align: left; vertical-align: top; }}
audio {{ display: block; width: 15rem; height: 2rem; margin-top: .3rem; }}
.wrong {{ color: #a00; }}
small {{ color: #666; }}
</style>
<h1>{title}</h1>
{figures}
<table>
<tr><th>question</th><th>answer</th><th>heard in the answer's speech</th><th>measured</th></tr>
{rows}
</table>
</html>
"""


def answer_page(title: str, figures: Sequence[tuple[str, str]], answers: Sequence[Mapping[str, Any]]) -> str:
    """Write the page.

    Args:
        title: its heading.
        figures: what stands above the answers: names and values.
        answers: entries of evaluation.json; the page lies beside their sound files.
    """
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in figures)
    return PAGE.format(title=escape(title), figures=f"<table>{table}</table>", rows="\n".join(map(_row, answers)))


def _row(answer: Mapping[str, Any]) -> str:
    right = "" if answer["text_right"] else ' class="wrong"'
    reference = "" if answer["text_right"] else f"<br><small>wanted: {escape(answer['reference'])}</small>"
    return (
        f"<tr><td>{escape(answer['question'])}<br><small>{escape(answer['kind'])}: {escape(answer['voice'])}</small>"
        f"{_player(answer['question_audio'])}</td>"
        f"<td{right}>{escape(answer['text'])}{reference}{_player(answer['answer_audio'])}</td>"
        f"<td>{escape(answer['heard'])}</td><td>{escape(measured(answer))}</td></tr>"
    )


def _player(path: str | None) -> str:
    return f'<audio controls preload="none" src="{escape(path)}"></audio>' if path else ""


def measured(answer: Mapping[str, Any]) -> str:
    """Error rates and times of one answer, in words; see `evaluate.EvaluatedAnswer`."""

    def shown(key: str, form: str) -> str:
        return "-" if answer[key] is None else format(answer[key], form)

    return (
        f"WER of text {shown('text_wer', '.0%')}, speech {shown('speech_wer', '.0%')}, codec alone "
        f"{shown('codec_wer', '.0%')}; first sound {shown('seconds_to_first_audio', '.2f')} s, "
        f"{shown('real_time_factor', '.2f')} s of work a second"
    )
