"""Sentences with the forms that a reader would say, by kind and language: a score for each kind, and none may fall.

`pytest -s tests/synth/text/test_normalisation.py -k score` prints the scores. Case, hyphens and commas do not count.
"""

import csv
import timeit
from collections import defaultdict
from pathlib import Path

import pytest

from anytalk.synth.text import normalise, unspeakable

with (Path(__file__).parent / "normalisation.tsv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
KINDS = sorted({(row["language"].partition("-")[0], row["kind"]) for row in ROWS})
LEAST = 400


def compared(text: str) -> str:
    return " ".join(text.lower().replace("-", " ").replace(",", " ").split())


def wrong(row: dict[str, str]) -> tuple[str, str] | None:
    """What is said instead, if that is no right form."""
    said = normalise(row["written"], row["language"])
    right = [compared(form) for form in row["spoken"].split(" | ")]
    return None if compared(said) in right else (row["written"], said)


@pytest.mark.parametrize(("language", "kind"), KINDS)
def test_every_sentence_of_a_kind_has_a_right_form(language, kind):
    rows = [row for row in ROWS if row["kind"] == kind and row["language"].startswith(language)]
    assert [found for row in rows if (found := wrong(row))] == []


def test_what_is_said_in_the_table_is_not_refused():
    refused = [
        (row["written"], problems)
        for row in ROWS
        if (problems := unspeakable(row["written"], row["language"], spoken=normalise(row["written"], row["language"])))
    ]
    assert refused == []


def test_the_table_is_large_and_prints_its_score():
    scores: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in ROWS:
        scores[row["language"].partition("-")[0], row["kind"]].append(wrong(row) is None)
    for (language, kind), right in sorted(scores.items()):
        print(f"{language}  {kind:<13} {sum(right):>3} of {len(right):>3}")  # noqa: T201
    print(f"all {sum(map(sum, scores.values()))} of {len(ROWS)}")  # noqa: T201
    assert len(ROWS) >= LEAST


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (
            "en",
            "Put the noodles into boiling salted water, stir once, and taste one when I tell you. You're done then.",
        ),
        (
            "de",
            "Gib die Nudeln in kochendes Wasser, rühre sie um und probiere dann. Fertig ist es, wenn sie weich sind.",
        ),
    ],
)
def test_plain_prose_takes_less_than_0_3_ms(language, text):
    def prepare():
        assert unspeakable(text, language, spoken=normalise(text, language)) == []

    assert min(timeit.repeat(prepare, number=10, repeat=30)) / 10 < 0.0003
