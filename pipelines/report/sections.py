"""The figures of a page as HTML: yield, measures, voices, languages, lengths, near-duplicates, cost."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from anytalk.pipelines.dataset import SIDES, tally
from anytalk.pipelines.recipe import Check

from .chart import bar, histogram
from .figures import Figures, bounds_of
from .frame import table
from .rows import ACCEPTED, REJECTED

STAGES = {"voices": "speech synthesis", "hearing": "transcription and features", "judging": "scores", "codec": "codec"}
MOST_LINES = 40
"""Of a table of voices, languages or labels."""

KEY = (
    '<p class="soft"><span class="key"></span> passed <span class="key failed"></span> failed '
    '<span class="key limit"></span> threshold. A bar is as high as the square root of its count; '
    "values beyond a chart's ends stand in its first or last bar.</p>"
)


def cards(facts: Iterable[tuple[str, str]]) -> str:
    """Figures that come first."""
    return f'<ul class="cards">{"".join(f"<li><b>{escape(v)}</b>{escape(k)}</li>" for k, v in facts)}</ul>'


def yields(gates: Mapping[str, Any], reasons: Mapping[str, int]) -> str:
    """What passed at once, on retry and never, by gate; and every reason of a reject."""
    head, *lines = tally.table(gates)
    total = sum(reasons.values())
    counted = [[escape(reason), f"{rows:,}", bar(rows / total, reason)] for reason, rows in reasons.items()]
    return (
        "<h2 id=yield>Yield</h2>"
        + table(head, ([escape(cell) for cell in line] for line in lines), "figures wide")
        + ("<h3>Rejected rows by reason</h3>" + table(["reason", "rows", "share"], counted) if counted else "")
    )


def measures(figures: Figures, check: Check) -> str:
    """A histogram of each measure with its thresholds."""
    parts = [f"<h2 id=measures>Measures</h2>{KEY}"]
    for side in SIDES:
        charts = [
            _figure(
                f"{measure} ({found.total:,})",
                histogram(found, bounds_of(check, side, measure), f"{measure} of {side}s"),
            )
            for (of, measure), found in figures.histograms.items()
            if of == side and found.total
        ]
        parts.append(f'<h3>{side}s</h3><div class="charts">{"".join(charts)}</div>' if charts else "")
    return "".join(parts)


def lengths(figures: Figures) -> str:
    """How long accepted questions and answers are."""
    charts = [
        _figure(f"{side}s in seconds ({found.total:,})", histogram(found, {}, f"lengths of {side}s in seconds"))
        for side, found in figures.lengths.items()
        if found.total
    ]
    return f'<h2 id=lengths>Lengths</h2><div class="charts">{"".join(charts)}</div>' if charts else ""


def voices(figures: Figures) -> str:
    """What each voice spoke, how much of it passed, and how well it did."""
    lines = []
    order = sorted(figures.voices.items(), key=lambda item: (item[0][0] != SIDES[0], -item[1].passed, item[0][1]))
    for (side, name), voice in order[:MOST_LINES]:
        spoken = voice.passed + voice.failed
        means = ["-" if (mean := voice.mean(measure)) is None else f"{mean:.3g}" for measure in ("wer", "mos")]
        share = bar(voice.passed / spoken, f"{name}: {voice.passed} of {spoken} passed")
        lines.append([escape(name), side, f"{spoken:,}", f"{voice.passed / spoken:.1%} {share}", *means])
    head = ["voice", "side", "utterances", "passed", "mean wer", "mean mos"]
    return _section("voices", "Voices", head, lines, len(figures.voices))


def groups(figures: Figures) -> str:
    """Rows by language, and by label of the source where there are several."""
    found = [("languages", "Languages", "language", figures.languages)]
    if len(figures.labels) > 1:
        found.append(("labels", "Topics and sources (split_name)", "label", figures.labels))
    return "".join(_counted(*each) for each in found)


def _counted(key: str, title: str, head: str, counts: Mapping[str, Counter[str]]) -> str:
    order = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    lines = [
        [escape(name), f"{one[ACCEPTED]:,}", f"{one[REJECTED]:,}", bar(one[ACCEPTED] / one.total(), f"{name} accepted")]
        for name, one in order[:MOST_LINES]
    ]
    return _section(key, title, [head, "accepted", "rejected", "share accepted"], lines, len(counts))


def near_duplicates(found: Sequence[tuple[float, str, str, str, str]], count: int, compared: int, left: int) -> str:
    """Conversations that are nearly the same.

    Args:
        found: similarity, then place and text of a conversation and of the earlier one that it is like.
        count: of all that were found.
        compared: how many conversations were compared.
        left: how many were not, as they were too many.
    """
    said = f"{count:,} of {compared:,} conversations share most of their words with an earlier one"
    more = f"; the last {left:,} were not compared: anytalk dedup compares all" if left else ""
    lines = [
        [
            f"{similarity:.2f}",
            f"<small>{escape(place)}</small><br>{escape(text)}",
            f"<small>{escape(other)}</small><br>{escape(like)}",
        ]
        for similarity, place, text, other, like in found
    ]
    listed = table(["similarity", "conversation", "is like"], lines, "figures wide") if lines else ""
    return f'<h2 id=duplicates>Near-duplicates</h2><p class="soft">{said}{more}.</p>{listed}'


def cost(seconds: Mapping[str, float], speech_s: float, asked: Sequence[Mapping[str, Any]]) -> str:
    """What the dataset took: engine seconds by stage, and what language models were sent."""
    total = sum(seconds.values())
    lines = [
        [escape(STAGES.get(stage, stage)), f"{spent:,.0f}", bar(spent / (total or 1), stage)]
        for stage, spent in seconds.items()
    ]
    pace = f"{total / speech_s:.2f} engine seconds for a second of accepted speech" if speech_s else "no speech"
    head = ["endpoint", *(name for name in (asked[0] if asked else {}) if name != "endpoint")]
    models = [[escape("-" if one[name] is None else str(one[name])) for name in head] for one in asked]
    return (
        f'<h2 id=cost>Cost</h2><p class="soft">{speech_s / 3600:.3f} h of accepted speech; {pace}, summed over workers.'
        f"</p>{table(['stage', 'seconds', 'share'], lines)}"
        + (f"<h3>Language models</h3>{table(head, models, 'figures wide')}" if asked else "")
    )


def _section(key: str, title: str, head: Sequence[str], lines: Sequence[Sequence[str]], count: int) -> str:
    if not lines:
        return ""
    more = f'<p class="soft">The first {len(lines)} of {count:,}.</p>' if count > len(lines) else ""
    return f"<h2 id={key}>{escape(title)}</h2>{table(head, lines, 'figures wide')}{more}"


def _figure(caption: str, chart: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"
