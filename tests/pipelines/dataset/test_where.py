"""Conditions over the columns of rows."""

import ast

import pyarrow as pa
import pytest

from anytalk.pipelines.dataset import parse_where
from anytalk.pipelines.dataset.schema import row_schema
from anytalk.synth.errors import SetupError

ROWS = pa.table(
    {
        "answer_wer": pa.array([0.0, 0.1, 0.25, 1.5], pa.float32()),
        "attempts": pa.array([1, 2, 3, 4], pa.int8()),
        "answer_samples": pa.array([24_000, 36_000, 12_000, 0], pa.int64()),
        "language": ["en", "de", "en-GB", ""],
        "seed": pa.array([0, 1, 2**63, 2**64 - 1], pa.uint64()),
    }
)
GAPS = pa.table({"answer_wer": pa.array([None, 0.1, 0.5], pa.float32()), "language": ["en", None, "de"]})


@pytest.mark.parametrize(
    "text",
    [
        "answer_wer > 0.2",
        "0 <= answer_wer < 0.25",
        "not answer_wer >= 0.25",
        "attempts > 1.5 and not (attempts == 3)",
        "attempts == 1 or attempts == 4 and answer_wer > 1",
        "answer_samples / 24000 >= 1.5",
        "answer_samples - 12000 * attempts > 0",
        "-attempts < -2",
        "attempts == 1000",
        "language in ['en', 'de']",
        "language not in ('en', 'de')",
        "'e' in language",
        "language == ''",
        "language > 'de'",
        "seed == 18446744073709551615",
        "2 <= seed",
        "seed / 2 > 1",
        "attempts != 2",
    ],
)
def test_a_condition_means_what_it_means_in_python(text):
    expected = [row["attempts"] for row in ROWS.to_pylist() if eval(text, {}, row)]
    assert parse_where(text, ROWS.schema).kept(ROWS)["attempts"].to_pylist() == expected


def test_a_bound_is_compared_as_the_column_stores_it():
    assert parse_where("answer_wer > 0.1", ROWS.schema).kept(ROWS)["attempts"].to_pylist() == [3, 4]
    assert parse_where("answer_wer == 0.1", ROWS.schema).kept(ROWS)["attempts"].to_pylist() == [2]
    assert parse_where("answer_wer in [0.1]", ROWS.schema).kept(ROWS)["attempts"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("answer_wer > 0.2", [0.5]),
        ("not answer_wer > 0.2", [pytest.approx(0.1)]),
        ("answer_wer is None", [None]),
        ("answer_wer is not None", [pytest.approx(0.1), 0.5]),
        ("language not in ['fr']", [None, 0.5]),
        ("language == 'fr' or answer_wer < 1", [pytest.approx(0.1), 0.5]),
    ],
)
def test_a_missing_value_meets_no_comparison(text, kept):
    assert parse_where(text, GAPS.schema).kept(GAPS)["answer_wer"].to_pylist() == kept


def test_columns_that_a_condition_reads_are_known():
    where = parse_where("question_wer > answer_wer and answer_audio is None", row_schema(8, {}))
    assert where.columns == ("answer_audio", "answer_wer", "question_wer")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("answer_wr > 1", "no column 'answer_wr'; did you mean answer_wer"),
        ("answer_wer = 0.1", "such as answer_wer == 0.1"),
        ("answer_wer", "is no comparison"),
        ("", "is not a condition"),
        ("1 > 0", "names no column"),
        ("language > 1", "cannot be compared: language is string"),
        ("answer_wer > True", "cannot be compared: answer_wer is float"),
        ("seed > -1", "cannot be compared: seed is uint64"),
        ("seed > 18446744073709551616", "neither a column"),
        ("answer_wer == None", "write COLUMN is None"),
        ("answer_wer in [None]", "neither a column, a number nor a string"),
        ("__import__('os').system('true')", "is no comparison"),
        ("answer_wer > __import__('os').nice(1)", "neither a column"),
        ("().__class__ == 1", "neither a column"),
        ("answer_wer > 9 ** 9 ** 9", "neither a column"),
        ("[x for x in [1]] == answer_wer", "neither a column"),
        ("(lambda: 1) == answer_wer", "neither a column"),
        ("answer_wer > 1e999", "neither a column"),
        ("(" * 1500, "nested"),
        ("-" * 1500 + "1 > attempts", "recursion"),
        ("attempts > 1" + " " * 3000, "at most 2,000"),
        ("attempts\x00 > 1", "null"),
    ],
)
def test_what_is_no_condition_is_refused_in_a_line(text, said):
    with pytest.raises(SetupError, match="(?s)" + ".*".join(map(_escaped, said.split()))) as refused:
        parse_where(text, ROWS.schema)
    assert len(str(refused.value)) < 300
    assert "\n" not in str(refused.value)


def _escaped(word):
    return word.replace("(", r"\(").replace(")", r"\)")


def test_every_kind_of_node_but_the_known_is_refused():
    """Whatever Python's grammar gains, what is not listed does not run."""
    for name in ("f'{attempts}' == language", "(x := 1) == attempts", "attempts if 1 else 2", "await x == attempts"):
        ast.parse(f"async def f(): return {name}")
        with pytest.raises(SetupError):
            parse_where(name, ROWS.schema)
