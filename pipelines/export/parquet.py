"""Parquet files that `datasets` loads with its types and that the Hugging Face hub can show page by page."""

import io
import itertools
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from anytalk.pipelines.dataset import schema as dataset_schema

from .format import Row

ROW_GROUP_ROWS = 100
"""Rows of a group: what the hub's viewer reads for one page of a table with audio."""


def typed(fields: Mapping[str, pa.DataType]) -> pa.Schema:
    """Make a schema of which `datasets` knows the types, audio among them."""
    return dataset_schema.with_features([pa.field(name, kind) for name, kind in fields.items()])


def parquet_bytes(rows: Iterable[Row], schema: pa.Schema) -> bytes | None:
    """Write rows as a Parquet file, a group at a time.

    Returns:
        Its bytes; None if there are no rows.
    """
    sink = io.BytesIO()
    waiting = iter(rows)
    groups = iter(lambda: list(itertools.islice(waiting, ROW_GROUP_ROWS)), [])
    first = next(groups, None)
    if first is None:
        return None
    # The hub finds the pages of a group by the index.
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_index=True) as writer:
        for group in itertools.chain([first], groups):
            writer.write_table(dataset_schema.table(group, schema), row_group_size=ROW_GROUP_ROWS)
    return sink.getvalue()
