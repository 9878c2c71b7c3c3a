"""The figures of a suite: for each set and answerer a table line with interval, ceiling, and what of it is kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .ask import Row
from .interval import Estimate, ratio

WER, MOS, EXACT, CONTAINS, JUDGE, JUDGE_SCORE = "wer", "mos", "exact", "contains", "judge", "judge_score"
SHARES = (EXACT, CONTAINS, JUDGE)
"""Measures of which more is better and 1 is all: of a ceiling in them, a share is kept."""

NAMES = {
    WER: "WER",
    MOS: "predicted MOS",
    EXACT: "exact",
    CONTAINS: "contains",
    JUDGE: "judged right",
    JUDGE_SCORE: "judge's score (1-5)",
}
"""What measures are called in tables."""

TERMS = {
    "WER": "word error rate: wrong, missing and extra words of all answers over the words of all references; 0% is "
    "perfect.",
    "exact": "share of answers that are a reference answer, apart from case, punctuation and how numbers are written.",
    "contains": "share of answers in which a reference answer stands, word for word.",
    "judged right": "share of answers that the judging language model calls right, given the reference answers.",
    "judge's score (1-5)": "mean rating by the judging language model of answers to open questions.",
    "predicted MOS": "mean opinion score that a network (DNSMOS) predicts for the sound of the speech, from 1 to 5.",
    "95% interval": "percentiles of the figure over questions drawn again with replacement (bootstrap).",
    "A1T1, T1A1, T1T2, A1T2, A1A2": "the task: A is audio, T text, 1 the question, 2 the answer.",
    "A1A2 text, A1A2 speech": "the text that the model writes while it speaks, and what is heard in its speech.",
    "codec": "recordings after encode and decode alone: no speech through this codec does better.",
    "backbone": "the language model that the model was made from, asked in writing.",
    "kept": "share of the ceiling's right answers that are left.",
}


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    set: str
    answerer: str
    measure: str
    value: float
    low: float | None
    high: float | None
    rows: int
    ceiling: str | None = None
    """Whose value the next one is."""
    ceiling_value: float | None = None
    kept: float | None = None
    kept_low: float | None = None
    kept_high: float | None = None
    published: Mapping[str, float] | None = None
    """What has been published of other models on this set."""


def figures(name: str, rows: Sequence[Row], ceiling: str | None, published: Mapping[str, float]) -> list[Figure]:
    """Sum up the rows of a set.

    Args:
        name: the set's.
        rows: what was said.
        ceiling: answerer that others are compared with.
        published: other models' word error rates on this set.
    """
    answerers = dict.fromkeys(label for row in rows for label in row.said)
    measures = [
        measure for measure in NAMES if any(measure in said.scores for row in rows for said in row.said.values())
    ]
    pairs = ((label, measure) for label in answerers for measure in measures)
    return [made for label, measure in pairs if (made := _figure(name, rows, label, measure, ceiling, published))]


def _figure(
    name: str, rows: Sequence[Row], label: str, measure: str, ceiling: str | None, published: Mapping[str, float]
) -> Figure | None:
    found = _estimate(_scores(rows, label, measure))
    if found is None:
        return None
    values: dict[str, Any] = {}
    if measure == WER and label == "A1T1" and published:
        values["published"] = dict(published)
    if ceiling and label != ceiling and (best := _estimate(_scores(rows, ceiling, measure))):
        values |= {"ceiling": ceiling, "ceiling_value": _rounded(best.value)}
        if measure in SHARES:
            values |= _kept(rows, label, ceiling, measure)
    return Figure(
        name,
        label,
        measure,
        _rounded(found.value),
        _rounded(found.low),
        _rounded(found.high),
        rows=len(_scores(rows, label, measure)),
        **values,
    )


def _kept(rows: Sequence[Row], label: str, ceiling: str, measure: str) -> dict[str, float | None]:
    """What is left of the ceiling, over the rows that both have."""
    answerers = (label, ceiling)
    both = [row for row in rows if all(each in row.said and measure in row.said[each].scores for each in answerers)]
    found = _estimate(
        [
            (row.item.question, (row.said[label].scores[measure][0], row.said[ceiling].scores[measure][0]))
            for row in both
        ]
    )
    if found is None:
        return {}
    return {"kept": _rounded(found.value), "kept_low": _rounded(found.low), "kept_high": _rounded(found.high)}


Score = tuple[str, tuple[float, float]]
"""The question of a row, and what the row adds to the two sums."""


def _scores(rows: Sequence[Row], label: str, measure: str) -> list[Score]:
    return [
        (row.item.question, row.said[label].scores[measure])
        for row in rows
        if label in row.said and measure in row.said[label].scores
    ]


def _estimate(scores: Sequence[Score]) -> Estimate | None:
    """Divide the sums; rows of one question, spoken by several voices, are right together and are drawn together."""
    sums: dict[str, tuple[float, float]] = {}
    for question, (above, below) in scores:
        before = sums.get(question, (0.0, 0.0))
        sums[question] = (before[0] + above, before[1] + below)
    return ratio([above for above, _ in sums.values()], [below for _, below in sums.values()])


def _rounded(value: float | None) -> Any:
    return None if value is None else round(value, 4)


# The table

COLUMNS = ("set", "answer", "measure", "value", "95% interval", "rows", "ceiling", "kept", "published")


def table_rows(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Write figures out, a tuple of `COLUMNS` each.

    Args:
        found: figures as they stand in evaluation.json.
    """
    return [tuple(_cells(each)) for each in found]


def _cells(figure: Mapping[str, Any]) -> Iterator[str]:
    measure = figure["measure"]
    yield from (figure["set"], figure["answerer"], NAMES[measure], shown(measure, figure["value"]))
    yield _interval(measure, figure["low"], figure["high"])
    yield str(figure["rows"])
    yield f"{figure['ceiling']} {shown(measure, figure['ceiling_value'])}" if figure["ceiling"] else ""
    kept = figure["kept"]
    yield "" if kept is None else f"{kept:.0%} ({_interval(EXACT, figure['kept_low'], figure['kept_high'])})"
    yield ", ".join(f"{who} {shown(measure, value)}" for who, value in (figure["published"] or {}).items())


def _interval(measure: str, low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{shown(measure, low)} to {shown(measure, high)}"


def shown(measure: str, value: float) -> str:
    """Write a value in its unit."""
    return f"{value:.1%}" if measure in (WER, *SHARES) else f"{value:.2f}"


def table_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write figures as a table of text; columns that hold nothing are left out."""
    rows = [COLUMNS, *table_rows(found)]
    used = [k for k in range(len(COLUMNS)) if any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in used}
    return ["  ".join(row[k].ljust(widths[k]) for k in used).rstrip() for row in rows]


def as_json(found: Sequence[Figure]) -> list[dict[str, Any]]:
    """Give figures as JSON values."""
    return [asdict(each) for each in found]
