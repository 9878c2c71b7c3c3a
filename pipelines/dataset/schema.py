"""Schema 1: one question and its answer as an Arrow row, and a row that was rejected.

The `huggingface` metadata types the columns for `datasets` (audio as `Audio`); the `anytalk` metadata names the
schema's version, the codec and the feature model, so that training can refuse what does not match.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from anytalk.pipelines.recipe import Side

SCHEMA_VERSION = 1
QUESTION_RATE_HZ = 16_000
ANSWER_RATE_HZ = 24_000
SIDES: tuple[Side, Side] = ("question", "answer")
RATES_HZ: dict[Side, int] = {"question": QUESTION_RATE_HZ, "answer": ANSWER_RATE_HZ}
CODE_LAYERS = 7
FRAME_SAMPLES = 2048
"""Samples at 24 kHz that seven codes stand for."""

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_KEYS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("split_name", pa.string(), nullable=False),
    pa.field("conversation", pa.string(), nullable=False),
    pa.field("turn", pa.int16(), nullable=False),
    pa.field("variant", pa.int16(), nullable=False),
]
_TEXTS = [
    pa.field("question", pa.string(), nullable=False),
    pa.field("answer", pa.string()),
    pa.field("question_written", pa.string()),
    pa.field("answer_written", pa.string()),
    pa.field("language", pa.string(), nullable=False),
]
MEASURES = (
    "wer",
    "cer",
    "mos",
    "seconds_per_word",
    "leading_silence_s",
    "trailing_silence_s",
    "inner_silence_s",
    "clipped_share",
    "peak_db",
    "repetition",
    "similarity",
    "language_probability",
    "end_drop_db",
    "missing_end_words",
)

_ATTEMPTS = pa.list_(
    pa.struct(
        [
            ("side", pa.string()),
            ("attempt", pa.int8()),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("voice", pa.string()),
            ("text", pa.string()),
            ("transcript", pa.string()),
            *((measure, pa.float32()) for measure in MEASURES),
            ("audio", AUDIO),
            ("codes", pa.list_(pa.list_(pa.uint16(), CODE_LAYERS))),
        ]
    )
)

AUGMENTED = (
    ("question_augmentation", pa.string()),
    ("question_augmented_transcript", pa.string()),
    ("question_augmented_wer", pa.float32()),
)
"""What was done to a question that passed, as JSON, and how well it is understood since."""


SPEAKERS = ("question_speaker", "answer_speaker")
"""Who speaks in recordings, as the source names them; columns of datasets whose source does."""


def row_schema(feature_width: int | None, fingerprints: Mapping[str, object], speakers: bool = False) -> pa.Schema:
    """Schema of an accepted row.

    Args:
        feature_width: width D of the Whisper states; None for a dataset without features.
        fingerprints: what the rows were encoded with, kept as metadata; JSON-serialisable. With `augment` among them,
            there are columns for what was done to questions.
        speakers: whether the source names speakers; then there are columns for them.
    """
    fields = [
        *_KEYS,
        *_TEXTS,
        pa.field("question_audio", AUDIO),
        pa.field("answer_audio", AUDIO),
        pa.field("question_samples", pa.int64()),
        pa.field("answer_samples", pa.int64()),
    ]
    if feature_width is not None:
        fields.append(pa.field("question_features", pa.list_(pa.list_(pa.float16(), feature_width))))
    fields.append(pa.field("answer_codes", pa.list_(pa.list_(pa.uint16(), CODE_LAYERS))))
    for side in ("question", "answer"):
        fields += [pa.field(f"{side}_voice", pa.string()), pa.field(f"{side}_transcript", pa.string())]
        fields += [pa.field(f"{side}_{measure}", pa.float32()) for measure in MEASURES]
    if "augment" in fingerprints:
        fields += [pa.field(name, kind) for name, kind in AUGMENTED]
    if speakers:
        fields += [pa.field(name, pa.string()) for name in SPEAKERS]
    fields += [pa.field("attempts", pa.int8(), nullable=False), pa.field("seed", pa.uint64(), nullable=False)]
    return _with_metadata(fields, fingerprints)


def reject_schema(fingerprints: Mapping[str, object]) -> pa.Schema:
    """Schema of a rejected row: what is known of it, why it failed, and every attempt at it."""
    keys = [field.with_nullable(field.name != "id") for field in _KEYS]
    texts = [field.with_nullable(True) for field in _TEXTS]
    fields = [
        *keys,
        *texts,
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("attempts", _ATTEMPTS),
    ]
    return _with_metadata(fields, fingerprints)


def attempt_schema(fingerprints: Mapping[str, object]) -> pa.Schema:
    """Schema of the attempts that were made at an accepted row beside the two that it holds."""
    return _with_metadata([pa.field("id", pa.string(), nullable=False), pa.field("attempts", _ATTEMPTS)], fingerprints)


def _with_metadata(fields: Sequence[pa.Field], fingerprints: Mapping[str, object]) -> pa.Schema:
    return with_features(fields, {"anytalk": json.dumps({"schema": SCHEMA_VERSION, **fingerprints}, sort_keys=True)})


def with_features(fields: Sequence[pa.Field], metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Make a schema whose metadata say to `datasets` of which types its columns are, audio among them.

    Args:
        fields: the columns; those of type `AUDIO` become `Audio`.
        metadata: what else the metadata hold.
    """
    features = {field.name: _huggingface_type(field.type, field.name) for field in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}}), **(metadata or {})})


def _huggingface_type(kind: pa.DataType, name: str) -> dict[str, Any]:
    """Write a type as `datasets` stores it in the schema's metadata."""
    if kind == AUDIO:
        rate = {"question_audio": QUESTION_RATE_HZ, "answer_audio": ANSWER_RATE_HZ}.get(name)
        return {**({"sampling_rate": rate} if rate else {}), "_type": "Audio"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _huggingface_type(kind.value_type, ""), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _huggingface_type(kind.value_type, ""), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _huggingface_type(field.type, field.name) for field in kind}
    return {"dtype": {"halffloat": "float16", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Build a table from row values; matrices may be numpy arrays.

    The one writer of all rows: the same values always give the same buffers, which slices of other tables do not.
    """
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if pa.types.is_list(field.type) and pa.types.is_fixed_size_list(field.type.value_type):
            columns.append(_matrices(values, field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _matrices(values: Sequence[np.ndarray | None], kind: pa.ListType) -> pa.ListArray:
    """Column of matrices of one width; None stays null."""
    width, dtype = kind.value_type.list_size, kind.value_type.value_type.to_pandas_dtype()
    filled = [np.empty((0, width), dtype) if value is None else np.asarray(value, dtype) for value in values]
    for matrix in filled:
        if matrix.ndim != 2 or matrix.shape[1] != width:
            raise ValueError(f"a matrix column of width {width} got shape {matrix.shape}")
    flat = pa.array(np.concatenate(filled or [np.empty((0, width), dtype)]).reshape(-1), kind.value_type.value_type)
    inner = pa.FixedSizeListArray.from_arrays(flat, width)
    ends = np.cumsum([0, *(len(matrix) for matrix in filled)], dtype=np.int32)
    mask = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends), inner, type=kind, mask=mask)


def matrix(column: pa.ListArray | pa.ChunkedArray, index: int) -> np.ndarray | None:
    """One matrix of a column as (rows, width), without going through Python numbers."""
    value = column[index]
    if not value.is_valid:
        return None
    width = value.type.value_type.list_size
    flat: np.ndarray = value.values.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, width)
