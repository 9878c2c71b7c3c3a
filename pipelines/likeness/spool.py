"""Documents on disk, in order: any of them can be read again, and none stays in memory."""

import contextlib
import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from anytalk.pipelines.dataset import BuiltConversation, Mapped, Store, rows_of

BATCH_DOCUMENTS = 2048
_SCHEMA = pa.schema([("name", pa.string()), ("texts", pa.list_(pa.string()))])


@dataclasses.dataclass(frozen=True)
class Document:
    """What is compared with others: a conversation, or a row."""

    name: str
    """Where it stands."""
    texts: tuple[str, ...]
    """What is said in it. An empty text keeps the place of one that is not there."""


class Spool:
    """Documents on disk.

    Args:
        path: an Arrow file with batches of `BATCH_DOCUMENTS` documents.
        earlier: how many at the beginning are of earlier sets.
    """

    def __init__(self, path: Path, earlier: int) -> None:
        self.earlier = earlier
        self._mapped = Mapped(path)
        reader = pa.ipc.open_file(self._mapped.buffer)
        # A batch is a view of the mapped file, but takes longer to open than to read from.
        self._batch = functools.lru_cache(maxsize=256)(reader.get_batch)
        self.batches = reader.num_record_batches
        self._last = self._batch(self.batches - 1).num_rows if self.batches else 0

    def __len__(self) -> int:
        return max(0, self.batches - 1) * BATCH_DOCUMENTS + self._last

    def __getitem__(self, place: int) -> Document:
        batch = self._batch(place // BATCH_DOCUMENTS)
        row = place % BATCH_DOCUMENTS
        return Document(batch["name"][row].as_py(), tuple(batch["texts"][row].as_py()))

    def texts(self, batch: int) -> list[list[str]]:
        """Texts of a batch of documents."""
        texts = self._batch(batch)["texts"]
        found: list[list[str]] = texts.to_pylist()
        self._mapped.looked_at(texts.nbytes)
        return found


@contextlib.contextmanager
def spooled(documents: Iterable[Document], earlier: Iterable[Document] = ()) -> Iterator[Spool]:
    """Write documents to a temporary file, after those of earlier sets; it is deleted when the context ends."""
    with tempfile.TemporaryDirectory(prefix="anytalk-") as folder:
        path = Path(folder) / "documents.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            count = itertools.count()
            waiting = itertools.chain((document for document, _ in zip(earlier, count, strict=False)), documents)
            while batch := list(itertools.islice(waiting, BATCH_DOCUMENTS)):
                columns = [[document.name for document in batch], [list(document.texts) for document in batch]]
                writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
        yield Spool(path, next(count))


def conversations_of(store: Store, columns: Sequence[str]) -> Iterator[Document]:
    """Each conversation of a dataset as one document: these columns of its turns as they were spoken first."""
    return (document_of(conversation, store, columns) for conversation in rows_of(store, columns))


def document_of(conversation: BuiltConversation, store: Store, columns: Sequence[str]) -> Document:
    """A conversation of a dataset as one document; see `conversations_of`."""
    texts = [row[column] or "" for row in conversation.first_variant() for column in columns]
    return Document(conversation.place(store), tuple(texts))
