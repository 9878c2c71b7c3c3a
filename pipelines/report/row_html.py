"""One row of a page as HTML: texts, transcripts laid beside them, measures, players."""

import base64
import json
from collections.abc import Sequence
from html import escape
from typing import Any

from anytalk.pipelines.dataset import MEASURES, SIDES
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.judge.error_rate import aligned, compare
from anytalk.synth.text import without_tags

from .choose import Chosen
from .clips import Clip
from .figures import bounds_of
from .rows import ACCEPTED

LONGEST_TEXT = 1500
"""Characters of a text that are shown."""

SORTED_BY = tuple(f"{side}_{measure}" for side in SIDES for measure in MEASURES)


def row_html(chosen: Chosen, clips: Sequence[Clip], recipe: Recipe, note: str) -> str:
    """Write a row.

    Args:
        chosen: the row and its groups.
        clips: its sounds.
        recipe: of the dataset; measures beyond its thresholds are marked, and its style tags are no words.
        note: what is said where players are missing.
    """
    row = chosen.row
    measures = {name: round(row[name], 4) for name in SORTED_BY if row[name] is not None}
    outcome = "accepted" if row["outcome"] == ACCEPTED else f"rejected: {row['reason']}"
    tags = [f'<span class="tag {escape(row["outcome"])}">{escape(outcome)}</span>']
    tags += [f'<span class="tag">{escape(group)}</span>' for group in chosen.groups if group != "rejected"]
    place = ", ".join(
        f"{name} {row[name]}" for name in ("split", "unit", "language", "variant", "attempts") if row[name] is not None
    )
    detail = f'<p class="compared wrong">{_shown(row["detail"])}</p>' if row["detail"] else ""
    players = "".join(map(_player, clips)) or f"<small>{escape(note)}</small>"
    return (
        f'<article class="row" id="row-{escape(row["id"])}" data-groups="{escape(" ".join(chosen.groups))}" '
        f'data-reason="{escape(row["reason"] or "")}" data-measures="{escape(json.dumps(measures))}">'
        f"<header>{''.join(tags)}<code>{escape(row['id'])}</code><small>{escape(place)}; "
        f"{escape(row['split_name'] or '')}/{escape(row['conversation'] or '')}</small></header>{detail}"
        f'<div class="sides">{"".join(_side(row, side, recipe) for side in SIDES)}</div>'
        f'<div class="players">{players}</div></article>'
    )


def _side(row: dict[str, Any], side: str, recipe: Recipe) -> str:
    text, written, transcript = (row[f"{side}{ending}"] for ending in ("", "_written", "_transcript"))
    if text is None and transcript is None:
        return ""
    parts = [f'<p class="said">{_shown(text)}</p>' if text is not None else ""]
    if written not in (None, text):
        parts.append(f'<p class="compared soft">written: {_shown(written)}</p>')
    if transcript is not None:
        plain = text and without_tags(text, recipe.clean.style_tags)
        parts.append(_compared(plain, transcript, row["language"] or "en"))
    if row[f"{side}_voice"]:
        parts.append(f'<p class="measures">{escape(row[f"{side}_voice"])}</p>')
    known = [(measure, row[f"{side}_{measure}"]) for measure in MEASURES]
    shown = [_measure(name, value, bounds_of(recipe.check, side, name)) for name, value in known if value is not None]
    return f'<section><h3>{side}</h3>{"".join(parts)}<p class="measures">{", ".join(shown)}</p></section>'


def _measure(name: str, value: float, bounds: dict[str, float]) -> str:
    # As in `attempts`: float32 may lie beyond a bound that the measure did not.
    value = round(value, 4)
    beyond = [
        f"{bound:g}"
        for key, bound in bounds.items()
        if (value > bound if key.startswith("max_") else value < bound) or value != value
    ]
    text = escape(f"{name} {value:g}")
    return f"<b>{text}, bound {' and '.join(beyond)}</b>" if beyond else text


def _compared(text: str | None, transcript: str, language: str) -> str:
    """The transcript; where words differ, both word by word as they were compared."""
    heard = f'<p class="compared">heard: {_shown(transcript)}</p>'
    if text is None or max(len(text), len(transcript)) > LONGEST_TEXT:
        return heard
    found = compare(text, transcript, language)
    if not found.wer:
        return heard
    parts = []
    for run in aligned(found):
        if run.is_same:
            parts.append(escape(" ".join(run.text)))
            continue
        parts += [f"<del>{escape(' '.join(run.text))}</del>"] if run.text else []
        parts += [f"<ins>{escape(' '.join(run.transcript))}</ins>"] if run.transcript else []
    return f'{heard}<p class="compared">as compared: {" ".join(parts)}</p>'


def _player(clip: Clip) -> str:
    name = clip.name + (" (the beginning)" if clip.is_cut else "")
    data = base64.b64encode(clip.mp3).decode()
    return (
        f'<label>{escape(name)}<audio controls preload="none" aria-label="{escape(name)}" '
        f'src="data:audio/mpeg;base64,{data}"></audio></label>'
    )


def _shown(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return escape(text)
    return f"{escape(text[:LONGEST_TEXT])} <small>… and {len(text) - LONGEST_TEXT:,} more characters</small>"
