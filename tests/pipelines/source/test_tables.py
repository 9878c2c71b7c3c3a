"""Tables as people have them: every row is a pair or a reject with its place, and every file rows or one line."""

import csv
import datetime
import decimal
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from anytalk.pipelines.likeness.evaluation import evaluation_texts
from anytalk.pipelines.recipe import EvaluationSet, Recordings, Source, Table
from anytalk.pipelines.source import Attachments, BadPair, Pair, read_pairs
from anytalk.synth.errors import SetupError

ASKED = ("What comes after Monday?", "Tuesday comes next.")
MORE = ("How many legs does a spider have?", "A spider has eight legs.")


def read(path, **more):
    kind = {"json": "jsonl", "tsv": "csv", "txt": "csv"}.get(path.suffix[1:], path.suffix[1:])
    source = TypeAdapter(Source).validate_python({"kind": kind, "path": str(path), **more})
    return list(read_pairs(source, Attachments(None)))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def said(rows):
    return [(row.question, row.answer) if isinstance(row, Pair) else (row.source, row.reason) for row in rows]


def details(rows):
    return {row.source: row.detail for row in rows if isinstance(row, BadPair)}


JSONL = "".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in (ASKED, MORE))
CSV = "question,answer\r\n" + "".join(f"{q},{a}\r\n" for q, a in (ASKED, MORE))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.jsonl", JSONL), ("a.csv", CSV), ("a.json", f"[{JSONL.strip()}]".replace("}\n", "},"))]
)
def test_any_unicode_is_read(tmp_path, name, text, encoding):
    assert said(read(written(tmp_path, name, text.encode(encoding)))) == [ASKED, MORE]


def test_windows_1252_is_read_where_it_can_be_nothing_else(tmp_path):
    text = "question,answer\r\nWhere is the café?,It is “near” the Größe.\r\n"
    path = written(tmp_path, "a.csv", text.encode("cp1252"))
    assert said(read(path)) == [("Where is the café?", "It is “near” the Größe.")]


@pytest.mark.parametrize("encoding", ["cp1251", "shift-jis", "cp1250", "gbk"])
def test_other_encodings_are_refused_in_one_line_that_says_how_to_convert(tmp_path, encoding):
    words = {"cp1251": "Привет", "cp1250": "Příliš žluťoučký", "shift-jis": "こんにちは", "gbk": "你好"}[encoding]
    path = written(tmp_path, "a.csv", f"question,answer\n{words},Yes.\n".encode(encoding))
    with pytest.raises(SetupError, match=r"a\.csv is not UTF-8 \(line 2\).*iconv .* a\.csv > a\.utf8\.csv$"):
        read(path)


def test_a_damaged_line_among_good_ones_is_a_reject(tmp_path):
    content = JSONL.encode() + '{"question": "Größe?", "answer": "Ja."}\n'.encode() + b'{"question": "Gr\xf6\xdfe?"}\n'
    rows = read(written(tmp_path, "a.jsonl", content))
    assert said(rows) == [ASKED, MORE, ("Größe?", "Ja."), ("a.jsonl:4", "malformed_row")]
    assert details(rows)["a.jsonl:4"].startswith("not UTF-8")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_the_delimiter_is_found_in_the_header(tmp_path, delimiter, name):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    rows = [ASKED, ("Say: a, b; c", 'With "quotes",\nand a | new line')]
    writer.writerows([("question", "answer"), *rows])
    found = said(read(written(tmp_path, name, file.getvalue())))
    assert found == [tuple(" ".join(text.split()) for text in row) for row in rows]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_any_line_end_is_read(tmp_path, ends):
    assert said(read(written(tmp_path, "a.csv", CSV.replace("\r\n", ends)))) == [ASKED, MORE]


def test_a_comma_that_is_not_quoted_is_a_reject_and_loses_nothing(tmp_path):
    text = "question,answer\nHow are you?,Fine, thank you.\nOne?\n" + ",".join(ASKED)
    rows = read(written(tmp_path, "a.csv", text))
    assert said(rows) == [("a.csv:2", "malformed_row"), ("a.csv:3", "malformed_row"), ASKED]
    assert details(rows)["a.csv:2"].startswith("3 fields, and the header has 2")


@pytest.mark.parametrize("stray", ['"What do bees make?,Honey.', '"What?" he said,Honey.', '"'])
def test_a_stray_quotation_mark_takes_no_other_row_with_it(tmp_path, stray):
    text = f"question,answer\n{','.join(ASKED)}\n{stray}\n{','.join(MORE)}\n"
    rows = read(written(tmp_path, "a.csv", text))
    assert said(rows) == [ASKED, ("a.csv:3", "malformed_row"), MORE]
    assert "quotation mark" in details(rows)["a.csv:3"]
    # A second stray one closes the first, in between lie rows.
    rows = read(written(tmp_path, "b.csv", f"{text}{stray}\n"))
    assert said(rows) == [ASKED, ("b.csv:3", "malformed_row"), MORE, ("b.csv:5", "malformed_row")]


def test_quotation_marks_within_a_field_are_text(tmp_path):
    rows = read(written(tmp_path, "a.csv", 'question,answer\nIs 5" wide?,"He said ""no""."\n'))
    assert said(rows) == [('Is 5" wide?', 'He said "no".')]


def test_a_field_of_megabytes_is_read(tmp_path):
    for name, text in (("a.csv", f"question,answer\nQ?,{'word ' * 600_000}\nB?,C.\n"), ("a.jsonl", JSONL)):
        long = json.dumps({"question": "Q?", "answer": "word " * 600_000})
        rows = read(written(tmp_path, name, text if name == "a.csv" else f"{long}\n{JSONL}"))
        assert all(isinstance(row, Pair) for row in rows)
        assert len(rows[0].answer) > 2_000_000


BAD_LINES = {
    "not json": "unexpected",
    "[1]": "not a JSON object",
    '{"question": "Q?", "answer": "A.", "n": ' + "9" * 5000 + "}": "4300 digits",
    '{"question": "Q?", "answer": ' + "[" * 100_000 + "]" * 100_000 + "}": "nested",
    '{"question": "Q?", "answer": "A.", "answer": "B."}': "stands twice",
    '{"question": ["Q?"], "answer": "A."}': "holds list, not text",
    '{"question": "Q?", "answer": true}': "holds bool, not text",
    r'{"question": "Q\u0000?", "answer": "A."}': "characters that no text has",
    r'{"question": "Q\ud800?", "answer": "A."}': "characters that no text has",
    '{"question": "Q?", "answer": "A.", "turn": 40001}': "turn 40001 is no whole number from 0 to 32767",
    '{"question": "Q?", "answer": "A.", "turn": -1}': "turn -1",
    '{"question": "Q?", "answer": "A.", "turn": 0.5}': "turn 0.5",
    '{"question": "Q?", "answer": "A.", "turn": "first"}': "first",
    '{"question": "Q?", "answer": "A.", "question_audio": [1, 2]}': "a recording is a path or bytes",
    '{"question": "Q?", "answer": "A.", "question_audio": {"array": [0.1]}}': "a recording is a path or the bytes",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_whatever_is_wrong_with_a_line_is_a_reject_with_its_place(tmp_path, line):
    rows = read(written(tmp_path, "a.jsonl", f"{JSONL}{line}\n{JSONL}"))
    assert said(rows) == [ASKED, MORE, ("a.jsonl:3", "malformed_row"), ASKED, MORE]
    [detail] = details(rows).values()
    assert len(detail) < 400
    if line != "not json":
        assert BAD_LINES[line] in detail


def test_a_language_that_is_no_tag_says_which_one_is_meant(tmp_path):
    row = {"question": "Q?", "answer": "A.", "language": "english"}
    [bad] = read(written(tmp_path, "a.jsonl", json.dumps(row)))
    assert (bad.reason, bad.detail) == ("unknown_language", "'english' is no language tag; 'en' is meant")


def test_nan_is_nothing_and_whole_floats_are_numbers(tmp_path):
    text = '{"question": "Q?", "answer": NaN, "conversation": 1.0, "turn": 2.0, "language": NaN}\n'
    [pair] = read(written(tmp_path, "a.jsonl", text))
    assert (pair.answer, pair.conversation, pair.turn, pair.language) == ("", "1", 2, "en")


@pytest.mark.parametrize("around", ["{}", '{{"data": {}}}', '{{"version": 1, "rows": {}, "tags": ["a"]}}'])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_array_of_json_is_read(tmp_path, around, indent, name):
    rows = [{"question": q, "answer": a} for q, a in (ASKED, MORE)]
    text = json.dumps(
        json.loads(around.format(json.dumps([*rows, 7]) if around == "{}" else json.dumps(rows))), indent=indent
    )
    found = read(written(tmp_path, name, text)) if around == "{}" or indent else None
    if around == "{}":
        assert said(found) == [ASKED, MORE, (f"{name}#3", "malformed_row")]
    elif found is not None:
        assert said(found) == [ASKED, MORE]


def test_a_broken_array_is_one_line(tmp_path):
    with pytest.raises(SetupError, match=r"a\.json is a JSON array that cannot be read: Expecting.* line 2"):
        read(written(tmp_path, "a.json", '[{"question": "Q?"},\n {"question": '))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"quiz": "Q?"}, r"no column 'question' in a; it has: quiz; name yours with --set source.columns.question="),
        (
            {"My Prompt": 1, "Prompt": "Q?", "reply": "A."},
            "it has: My Prompt, Prompt, reply; say --set source.columns.question=Prompt "
            "--set source.columns.answer=reply$",
        ),
        ({"question": "Q?", "Answer": "A."}, "no column 'answer' in a; .*; say --set source.columns.answer=Answer$"),
        (
            {"file_name": "a.wav", "transcription": "A."},
            "say --set source.columns.question=transcription --set source.columns.question_audio=file_name",
        ),
        ({f"c{n}": 1 for n in range(500)}, r"c10, c11, and 488 more; name yours"),
    ],
)
def test_tables_of_another_form_say_what_to_do(tmp_path, row, message):
    with pytest.raises(SetupError, match=message):
        read(written(tmp_path, "a.jsonl", "not json\n" + json.dumps(row)))


def test_a_csv_file_without_answers_is_one_line_and_not_a_reject_a_row(tmp_path):
    with pytest.raises(SetupError, match=r"no column 'answer' in a; it has: question; name yours"):
        read(written(tmp_path, "a.csv", "question\nQ?\nR?\n"))
    # In JSON, another row may have it.
    rows = ['{"question": "Q?"}', '{"question": "R?", "answer": "A."}']
    assert [pair.answer for pair in read(written(tmp_path, "a.jsonl", "\n".join(rows)))] == ["", "A."]


@pytest.mark.parametrize(
    ("name", "kind", "content", "told"),
    [
        ("a.csv", "jsonl", "question,answer\nQ?,A.\n", "is text with columns, not jsonl: --set source.kind=csv"),
        ("a.csv", "parquet", "question;answer\nQ?;A.\n", "is text with columns, not parquet: --set source.kind=csv"),
        ("a.csv", "csv", '[{"question": "Q?"}]', "is JSON, not csv: --set source.kind=jsonl"),
        ("a.csv", "csv", '{"question": "Q?"}\n{"question": "R?"}', "is JSON, not csv: --set source.kind=jsonl"),
        ("a.jsonl", "jsonl", "PAR1 and so on", "is a Parquet file, not jsonl: --set source.kind=parquet"),
    ],
)
def test_what_a_file_is_decides_against_a_wrong_kind(tmp_path, name, kind, content, told):
    path = written(tmp_path, name, content)
    with pytest.raises(SetupError, match=f"source.kind: .*{told}$"):
        list(read_pairs(Table(kind=kind, path=str(path))))


def test_a_table_that_looks_like_none_by_its_name_is_named_by_its_kind(tmp_path):
    path = tmp_path / "excel.txt"
    path.write_bytes("question\tanswer\r\nQ?\tA.\r\n".encode("utf-16"))
    with pytest.raises(SetupError, match=r"or name its kind: --set 'source=\{kind: csv, path: .*excel\.txt\}'"):
        list(read_pairs(Recordings(kind="recordings", path=str(path))))
    [pair] = read_pairs(Table(kind="csv", path=str(path)))
    assert (pair.question, pair.answer) == ("Q?", "A.")
    with pytest.raises(SetupError, match=r"me/pairs does not exist; .*--set 'source=\{kind: hub, dataset: me/pairs\}'"):
        list(read_pairs(Recordings(kind="recordings", path="me/pairs")))


def test_turns_without_numbers_come_in_the_order_of_their_rows(tmp_path):
    rows = ["conversation,question,answer", "a,One?,1.", "a,Two?,2.", "b,Three?,3.", ",Four?,4.", ",Four?,4."]
    pairs = read(written(tmp_path, "a.csv", "\n".join(rows)))
    assert [(pair.conversation, pair.turn) for pair in pairs[:3]] == [("a", 0), ("a", 1), ("b", 0)]
    assert [pair.turn for pair in pairs[3:]] == [0, 0]
    assert pairs[3].conversation == pairs[4].conversation, "a pair that stands twice is a repeat"


def test_what_alpaca_gives_to_an_instruction_is_part_of_the_question(tmp_path):
    rows = [
        {"instruction": "Say which is an animal.", "input": "Table, spider.", "output": "The spider."},
        {"instruction": "Say hello.", "input": "", "output": "Hello."},
    ]
    path = written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    found = read(path, columns={"question": "instruction", "answer": "output"})
    assert said(found) == [("Say which is an animal. Table, spider.", "The spider."), ("Say hello.", "Hello.")]


# Parquet


def test_values_of_any_type_are_text_or_a_reject(tmp_path):
    values = {
        "text": ["Q?"], "whole": [5.0], "decimal": [decimal.Decimal("5.50")], "day": [datetime.date(2026, 11, 30)],
        "bytes": [b"Q?"], "nothing": pa.array([None], pa.string()), "list": [["Q?"]], "struct": [{"a": 1}],
        "noise": [b"\xff\xfe"], "late": pa.array([2**62], pa.timestamp("us")), "bool": [True],
    }  # fmt: skip
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(values), path)
    found = {name: read(path, columns={"question": name, "answer": "text"})[0] for name in values}
    texts = {name: row.question for name, row in found.items() if isinstance(row, Pair)}
    # A value that Python cannot hold makes its row unreadable, whichever column is asked for.
    assert texts == {}
    assert all("has no form in Python" in row.detail for row in found.values())
    del values["late"]
    pq.write_table(pa.table(values), path)
    found = {name: read(path, columns={"question": name, "answer": "text"})[0] for name in values}
    texts = {name: row.question for name, row in found.items() if isinstance(row, Pair)}
    wanted = {"text": "Q?", "whole": "5", "decimal": "5.50", "day": "2026-11-30", "bytes": "Q?", "nothing": ""}
    assert texts == wanted


def test_a_corrupt_page_costs_its_rows_and_no_others(tmp_path):
    path = tmp_path / "a.parquet"
    rows = [{"question": f"Question number {n}?", "answer": "A."} for n in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100, compression="gzip")
    content = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(content)
    found = read(path)
    assert len(found) == 300
    assert [isinstance(row, Pair) for row in found] == [True] * 100 + [False] * 100 + [True] * 100
    assert found[100].source == "a.parquet:101"


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_an_empty_file_is_one_line(tmp_path, name):
    with pytest.raises(SetupError, match=r"no Parquet file|holds no rows"):
        read(written(tmp_path, name, b""))


# Evaluation sets


def texts_of(path):
    return [text.text for text in evaluation_texts(EvaluationSet(path=str(path)))]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_an_evaluation_set_is_read_in_its_encoding(tmp_path, encoding):
    for name, text in (("a.txt", "Where is the café?\n"), ("a.csv", "question\nWhere is the café?\n")):
        assert texts_of(written(tmp_path, name, text.encode(encoding))) == ["Where is the café?"]


def test_an_evaluation_set_that_would_be_misread_is_refused(tmp_path):
    for name, text in (
        ("a.csv", b"question\nWell, what comes next?\n"),
        ("a.txt", b"\xcf\xf0\xe8\xe2\xe5\xf2 \xcf\xf0\n"),
    ):
        with pytest.raises(SetupError, match=r"^decontaminate\.against: .*a\.(csv:2|txt)"):
            texts_of(written(tmp_path, name, text))


# Whatever a table holds

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["question", "answer", "conversation", "turn", "language", "split_name", "question_audio", "answer_audio"]


def outcome_of(path):
    """What becomes of a table: as many rows as it has, or one line."""
    try:
        rows = read(path)
    except SetupError as error:
        return None if len(str(error).splitlines()) == 1 else "several lines"
    for row in rows:
        assert isinstance(row, Pair | BadPair)
        row.source.encode()
        json.dumps([row.detail, row.reason] if isinstance(row, BadPair) else [row.question, row.answer]).encode()
        if isinstance(row, BadPair):
            row.detail.encode()
    return len(rows)


@settings(max_examples=70, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), anything, max_size=6), min_size=1, max_size=4
    )
)
def test_any_json_lines_give_a_row_or_a_reject_for_each_line(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any", numbered=True) / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert outcome_of(path) in (None, len(rows))


@settings(max_examples=70, deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.text('ab",;\t|\r\n', max_size=60).map(lambda text: f"question,answer\n{text}".encode())
)
def test_any_bytes_give_rows_or_one_line(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any", numbered=True)
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert outcome_of(written(folder, name, content)) != "several lines"


columns = st.sampled_from(
    [
        pa.string(),
        pa.binary(),
        pa.float64(),
        pa.int64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us"),
        pa.list_(pa.string()),
        pa.decimal128(9, 2),
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_parquet_gives_a_row_or_a_reject_for_each_row(tmp_path_factory, data):
    values = {
        pa.string(): st.text(max_size=5), pa.binary(): st.binary(max_size=5), pa.float64(): st.floats(),
        pa.int64(): st.integers(-(2**63), 2**63 - 1), pa.bool_(): st.booleans(), pa.date32(): st.dates(),
        pa.timestamp("us"): st.integers(-(2**63), 2**63 - 1),
        pa.list_(pa.string()): st.lists(st.text(max_size=3), max_size=2),
        pa.decimal128(9, 2): st.decimals(-1000, 1000, places=2),
    }  # fmt: skip
    count = data.draw(st.integers(1, 4))
    table = {}
    for key in data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=5, unique=True)):
        kind = data.draw(columns)
        table[key] = pa.array(data.draw(st.lists(st.none() | values[kind], min_size=count, max_size=count)), kind)
    path = tmp_path_factory.mktemp("any", numbered=True) / "a.parquet"
    pq.write_table(pa.table(table), path)
    assert outcome_of(path) in (None, count)
