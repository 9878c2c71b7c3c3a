"""The schema: values come back as they went in, and the same values are the same bytes."""

import json

import numpy as np
import pyarrow as pa
from datasets import Features

from anytalk.pipelines.dataset import commit, schema

PRINTS = {"codec": {"name": "fake"}}


def row(**changes):
    blank = dict.fromkeys(schema.row_schema(4, PRINTS).names)
    keys = {
        "id": "a",
        "split_name": "s",
        "conversation": "c",
        "turn": 0,
        "variant": 0,
        "question": "Q?",
        "language": "en",
    }
    return blank | keys | {"attempts": 1, "seed": 2**64 - 1} | changes


def test_matrices_come_back_with_their_shapes_and_nulls():
    features = np.arange(12, dtype=np.float16).reshape(3, 4)
    codes = np.arange(14, dtype=np.uint16).reshape(2, 7)
    table = schema.table(
        [row(), row(question_features=features, answer_codes=codes), row(question_features=features[:0])],
        schema.row_schema(4, PRINTS),
    )
    table.validate(full=True)
    assert schema.matrix(table["question_features"], 0) is None
    assert np.array_equal(schema.matrix(table["question_features"], 1), features)
    assert schema.matrix(table["question_features"], 2).shape == (0, 4)
    assert np.array_equal(schema.matrix(table["answer_codes"], 1), codes)
    assert table["seed"][0].as_py() == 2**64 - 1


def test_the_same_rows_are_the_same_bytes_whatever_table_they_came_from():
    rows = [row(id=str(n), answer_codes=np.full((n + 1, 7), n, np.uint16)) for n in range(9)]
    wanted = schema.row_schema(4, PRINTS)
    whole = commit.arrow_bytes(schema.table(rows[3:6], wanted), 2)
    travelled = schema.table(rows, wanted).slice(3, 3).to_pylist()
    again = [value | {"answer_codes": np.array(value["answer_codes"], np.uint16)} for value in travelled]
    assert commit.arrow_bytes(schema.table(again, wanted), 2) == whole


def test_datasets_reads_the_types_from_the_schema():
    features = Features.from_arrow_schema(schema.row_schema(4, PRINTS))
    assert features["question_audio"].sampling_rate == 16_000
    assert features["answer_audio"].sampling_rate == 24_000
    assert features.arrow_schema.field("answer_codes").type == pa.list_(pa.list_(pa.uint16(), 7))
    Features.from_arrow_schema(schema.reject_schema(PRINTS))


def test_the_metadata_names_schema_and_models():
    stored = json.loads(schema.row_schema(4, PRINTS).metadata[b"anytalk"])
    assert stored == {"schema": 1, **PRINTS}
