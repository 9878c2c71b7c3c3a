"""Attempts: which one counts, what is said of a row where none does, and that a stored one keeps its verdict."""

import numpy as np
import pytest

from anytalk.pipelines.dataset.schema import attempt_schema, table
from anytalk.pipelines.dataset.tally import tally, text
from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import Check
from anytalk.pipelines.source import Pair
from anytalk.pipelines.speech import Attempt, RowAttempts, read_back
from anytalk.pipelines.speech.attempts import best, stored
from anytalk.synth.hearing import Heard
from anytalk.synth.judge import Measures, Policy

GOOD = Measures(0.0, 0.0, 4.0, 0.4, 0.1, 0.1, 0.2, 0.0, -3.0)
ROW = PlannedRow("row", "row", "train", 0, Pair("s", "c", 0, "What?", "This.", "en"), 0)


def tried(number, *, wer=0.0, mos=4.0, reason=None):
    """An attempt that was measured, or that failed before it could be."""
    if reason is not None:
        return Attempt(number, "fake:a", reason=reason, detail="it is so")
    measures = Measures(**(vars(GOOD) | {"wer": wer, "mos": mos}))
    waveform = (np.arange(800) % 7 / 32).astype(np.float32)
    made = Attempt(number, "fake:a", waveform, Heard("what", None), measures)
    return made.judged(Policy())


def row_of(*questions, answers=(), budget=4):
    return RowAttempts(ROW, {"question": list(questions), "answer": list(answers)}, Check(attempts=budget))


def test_the_first_attempt_that_passes_counts():
    row = row_of(tried(0, wer=0.5), tried(1), tried(2, mos=4.5), answers=[tried(0)])
    assert row.chosen("question").number == 1
    assert (row.failed_side, row.attempt_count, row.is_retryable) == (None, 2, False)


def test_where_none_passes_the_fewest_wrong_words_are_named_not_the_last():
    row = row_of(tried(0, wer=0.5), tried(1, wer=0.25), tried(2, wer=0.75), tried(3, reason="no_speech"))
    assert row.reason == "high_wer"
    assert row.detail == "attempt 1 of 0 to 3 was the best: wer 0.25 is over 0.15; heard 'what'"
    assert best([tried(0, wer=0.2, mos=3.0), tried(1, wer=0.2, mos=3.5)]).number == 1
    assert row_of(tried(0, wer=0.2), tried(1, wer=0.0, mos=1.0)).reason == "low_mos"


def test_a_row_is_retryable_while_the_budget_holds_an_attempt_that_may_help():
    assert row_of(tried(0, wer=0.5), budget=2).is_retryable
    assert not row_of(tried(0, wer=0.5), tried(1, wer=0.5), budget=2).is_retryable
    assert not row_of(tried(0, reason="too_long"), budget=2).is_retryable
    row = row_of(tried(0))
    assert (row.failed_side, row.reason, row.is_retryable) == ("answer", "unspoken_answer", True)


def test_attempts_beyond_the_budget_are_kept_and_do_not_count():
    row = row_of(tried(0, wer=0.5), tried(1), answers=[tried(0)], budget=1)
    assert (row.failed_side, row.reason) == ("question", "high_wer")


@pytest.mark.parametrize("wer", [0.15, 0.1501])
def test_a_stored_attempt_has_the_verdict_that_it_had(wer):
    made = tried(3, wer=wer)
    rows = table([{"id": "row", "attempts": [stored(made, "question", "row")]}], attempt_schema({}))
    [attempt] = rows.to_pylist()[0]["attempts"]
    again = read_back(attempt, ROW).judged(Policy())
    assert (again.reason, again.detail, again.measures, again.number) == (
        made.reason,
        made.detail,
        made.measures,
        made.number,
    )
    assert np.array_equal(again.sound(), made.waveform)
    assert again.samples == 800


def test_codes_that_a_source_brought_are_kept_with_the_attempt():
    codes = np.arange(14, dtype=np.uint16).reshape(2, 7)
    made = Attempt(0, "codes:row 3", codes=codes)
    rows = table([{"id": "row", "attempts": [stored(made, "answer", "row")]}], attempt_schema({}))
    again = read_back(rows.to_pylist()[0]["attempts"][0], ROW)
    assert np.array_equal(again.codes, codes)
    assert (again.codes.dtype, again.samples, again.sound()) == (np.uint16, 4096, None)


def test_the_gates_of_a_side_add_up_to_the_rows_that_did_not_pass_at_once():
    rows = [
        row_of(tried(0), answers=[tried(0)]),
        row_of(tried(0, wer=0.5), tried(1), answers=[tried(0, mos=1.0), tried(1)]),
        row_of(tried(0, wer=0.5), tried(1, mos=1.0), answers=[tried(0)]),
    ]
    gates = tally([row.outcomes() for row in rows])
    assert gates["question"] == {
        "rows": 3,
        "passed_first": 1,
        "passed_later": 1,
        "failed": 1,
        "by_gate": {"high_wer": {"passed_later": 1, "failed": 1}},
    }
    # The answer that was spoken for a question that fails now is not asked for.
    assert gates["answer"]["rows"] == 2
    assert text(gates) == [
        "check               attempted  passed first try  passed on retry  failed",
        "question                    3                 1                1       1",
        "question: high_wer          2                                  1       1",
        "answer                      2                 1                1       0",
        "answer: low_mos             1                                  1       0",
    ]
