"""Write an Arrow file of any size row by row; see `commit.arrow_bytes` for one that fits into memory."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from . import schema

HELD_ROWS = 1024
"""Rows that are held before they are written, or the first multiple of a batch above that."""


class RowWriter:
    """Rows on their way to a local file, written as they come; the same rows give the same bytes.

    Args:
        path: of the file.
        kind: schema of the rows.
        batch_rows: rows of a record batch.
    """

    def __init__(self, path: Path, kind: pa.Schema, batch_rows: int) -> None:
        self.path, self.rows = path, 0
        self.reasons: Counter[str] = Counter()
        """How often each reason occurs, of rows that have one."""
        self._kind, self._batch_rows = kind, batch_rows
        self._held: list[Mapping[str, Any]] = []
        self._held_rows = -(-HELD_ROWS // batch_rows) * batch_rows
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, kind)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._writer.close()
        self._file.close()

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows down."""
        for row in rows:
            self._held.append(row)
            if len(self._held) == self._held_rows:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(schema.table(self._held, self._kind), max_chunksize=self._batch_rows)
            self.rows += len(self._held)
            self.reasons.update(row["reason"] for row in self._held if "reason" in row)
            self._held = []
