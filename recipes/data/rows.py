"""The rows of one or more datasets: memory-mapped Arrow shards, opened when they are needed.

What is kept in memory is small: where each row lies, how much of everything it has, and its text as token ids, which is
cheaper to keep than to compute in every epoch. Audio, features and codes stay in the files.

Shapes: R = rows.
"""

import bisect
import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anytalk.pipelines.dataset import SCHEMA_VERSION, Store, matrix
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import difference
from anytalk.synth.seed import digest

from .sample import Counts, Row
from .texts import TextSource, read_texts

OPEN_SHARDS = 1024  # each is a mapping, of which Linux allows a process 65,530
MANIFEST = "dataset.json"  # as pipelines.build writes it last; importing that would load every engine

Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Turn texts into token ids, special tokens of the tokenizer left out."""


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What the rows of some shards were encoded with."""

    codec: Mapping[str, Any] | None
    """Fingerprint; None where there are no codes."""
    feature: Mapping[str, Any] | None
    """Fingerprint; None where there are no features."""
    feature_width: int | None


class Rows:
    """All rows of a split.

    Args:
        datasets: folders of finished datasets.
        split: which split.
        encode: the tokenizer.
        codebook_size: codes must be below it.
        layers: codes of a frame.
        texts: sources of pairs that are text alone; their rows come after those of the datasets.

    Raises:
        SetupError: a folder is no finished dataset; schemas, codecs or feature models differ; a code is out of range;
            a source of text cannot be read.
    """

    def __init__(
        self,
        datasets: Sequence[str],
        split: str,
        encode: Encode,
        codebook_size: int,
        layers: int = 7,
        texts: Sequence[TextSource] = (),
    ) -> None:
        by_dataset = [shard_paths(dataset, split) for dataset in datasets]
        self.shards = [path for paths in by_dataset for path in paths]
        part_of = [part for part, paths in enumerate(by_dataset) for _ in paths]
        self.encoding = read_encoding(self.shards)
        self._open = functools.lru_cache(OPEN_SHARDS)(self._open_shard)
        places, self._questions, self._answers, frames, codes, turns = [], [], [], [], [], []
        parts: list[int] = []
        for number, path in enumerate(self.shards):
            table = _validated(path)
            places += [(number, row) for row in range(table.num_rows)]
            parts += [part_of[number]] * table.num_rows
            with _damage_named(path):
                questions, answers = table["question"], table["answer"]
                frames.append(_lengths(table, "question_features"))
                codes.append(_lengths(table, "answer_codes"))
                _check_codes(table, path, codebook_size, layers)
                turns += _turn_keys(table, path.parent)
            self._questions += _tokens(questions.to_pylist(), encode)
            self._answers += _tokens(answers.to_pylist(), encode)
        self._texts = [read_texts(source) for source in texts]
        for number, pairs in enumerate(self._texts):
            places += [(-1 - number, row) for row in range(len(pairs.ids))]
            parts += [len(datasets) + number] * len(pairs.ids)
            self._questions += _tokens(pairs.questions, encode)
            self._answers += _tokens(pairs.answers, encode)
            frames.append(np.zeros(len(pairs.ids), np.int64))
            codes.append(np.zeros(len(pairs.ids), np.int64))
            turns += [(number, *key) for key in pairs.turns]
            pairs.drop_text()
        self.part_R = np.array(parts, np.int32)
        """Number of the dataset that each row is of; sources of text are numbered after the datasets."""
        self._places = np.array(places, np.int64).reshape(-1, 2)
        self.shard_R = self._places[:, 0]
        """Number of the shard that each row lies in; below 0 for pairs of text, which are in memory."""
        self.counts = Counts(
            np.array([len(tokens) for tokens in self._questions], np.int64),
            np.array([len(tokens) for tokens in self._answers], np.int64),
            np.concatenate([np.zeros(0, np.int64), *frames]),
            np.concatenate([np.zeros(0, np.int64), *codes]),
        )
        self.previous_R = _previous(turns)
        """Number of the row that is the turn before; -1 where there is none."""
        largest = [int(tokens.max(initial=-1)) for tokens in (*self._questions, *self._answers)]
        self.largest_token = max(largest, default=-1)
        # Shards are named by the hash of their content, so their names stand for the data, wherever it lies.
        of_texts = (digest(*pairs.ids) for pairs in self._texts)
        self.identity = digest(split, *(f"{path.name}:{path.stat().st_size}" for path in self.shards), *of_texts)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Row:
        place, index = self._places[number].tolist()
        if place < 0:
            return Row(self.id(number), self._questions[number], self._answers[number], None, None)
        shard = self._open(place)
        return Row(
            shard.ids[index],
            self._questions[number],
            self._answers[number],
            shard.features[index] if shard.features else None,
            shard.codes[index] if shard.codes else None,
        )

    def id(self, number: int) -> str:
        """Name of a row."""
        place, index = self._places[number].tolist()
        return self._texts[-1 - place].ids[index] if place < 0 else self._open(place).ids[index]

    def _open_shard(self, number: int) -> "_Shard":
        table = mapped(self.shards[number])
        features, codes = (
            _Matrices(table[name]) if name in table.column_names else None
            for name in ("question_features", "answer_codes")
        )
        return _Shard(table["id"].to_pylist(), features, codes)


class _Matrices:
    """A column of matrices, as views of the mapped file: a row costs neither a copy nor an Arrow scalar."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)]).tolist()
        self._chunks = [_flat(chunk) for chunk in column.chunks]

    def __getitem__(self, index: int) -> Any:
        """Give (rows, width), or None where there is nothing."""
        chunk = bisect.bisect_right(self._starts, index) - 1
        values, offsets = self._chunks[chunk]
        place = index - self._starts[chunk]
        start, end = offsets[place], offsets[place + 1]
        return values[start:end] if end > start else None


def _flat(chunk: pa.ListArray) -> tuple[NDArray[Any], list[int]]:
    values = chunk.values.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, chunk.type.value_type.list_size), chunk.offsets.to_pylist()


class _Shard(NamedTuple):
    """What is kept of an open shard."""

    ids: list[str]
    features: _Matrices | None
    codes: _Matrices | None


def shard_paths(dataset: str, split: str) -> list[Path]:
    """Shards of a split, in plan order.

    Raises:
        SetupError: the folder is not local or holds no finished dataset.
    """
    store = Store(dataset)
    if not store.local:
        raise SetupError(f"{store} is remote; training maps shards into memory: copy the dataset to a local folder")
    if not store.exists(MANIFEST):
        raise SetupError(f"{store} holds no finished dataset: it has no {MANIFEST}; run anytalk build first")
    return sorted(Path(store.root, "shards").glob(f"{split}-*.arrow"))


def texts(datasets: Sequence[str], split: str) -> list[str]:
    """All questions and answers of a split, for a tokenizer to learn from."""
    found: list[str] = []
    for path in (path for dataset in datasets for path in shard_paths(dataset, split)):
        table = _validated(path)
        for column in ("question", "answer"):
            found += [text for text in table[column].to_pylist() if text]
    return found


def read_encoding(shards: Sequence[Path]) -> Encoding:
    """Read what shards were encoded with, and see that they belong together.

    Raises:
        SetupError: a shard has another schema, codec or feature model than the first that has any.
    """
    codec = feature = width = None
    for path in shards:
        schema = mapped(path).schema
        with _damage_named(path):
            meta = _metadata(schema, path)
            if "answer_codes" in schema.names:
                codec = _joined("codec", codec, meta.get("codec", {}), path)
            if "question_features" in schema.names:
                here = schema.field("question_features").type.value_type.list_size
                feature = _joined("feature model", feature, {**meta.get("features", {}), "width": here}, path)
                width = here
    return Encoding(codec, feature, width)


def _metadata(schema: pa.Schema, path: Path) -> dict[str, Any]:
    raw = (schema.metadata or {}).get(b"anytalk")
    if raw is None:
        raise SetupError(f"{path} is no shard of anytalk: its schema names no version")
    meta: dict[str, Any] = json.loads(raw)
    if meta.get("schema") != SCHEMA_VERSION:
        raise SetupError(f"{path} has schema {meta.get('schema')}; this version reads schema {SCHEMA_VERSION}")
    return meta


def _joined(kind: str, first: Mapping[str, Any] | None, here: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    if first is not None and (what := difference(first, here)):
        raise SetupError(f"{path} was made with another {kind} than the shards before it: {what}")
    return here if first is None else first


def mapped(path: Path) -> pa.Table:
    """Map a shard into memory.

    Raises:
        SetupError: it is damaged.
    """
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        table.schema.names  # noqa: B018 - raises for names that are no UTF-8
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read: {error}; anytalk check names every damaged file") from error


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Say of a shard whose schema or metadata is not what this package writes that it is damaged."""
    try:
        yield
    except (pa.ArrowException, ValueError, TypeError, LookupError, AttributeError) as error:
        raise SetupError(f"{path} is damaged: {error}; anytalk check names every damaged file") from error


def _validated(path: Path) -> pa.Table:
    """Map a shard whose offsets are right: Arrow believes every one, and a wrong one reads other memory.

    Raises:
        SetupError: it is damaged.
    """
    table = mapped(path)
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise SetupError(f"{path} is damaged: {error}; anytalk check names every damaged file") from error
    return table


def _tokens(texts: Sequence[str | None], encode: Encode) -> list[NDArray[np.int32]]:
    encoded = encode([text or "" for text in texts])
    return [np.array(tokens, np.int32) for tokens in encoded]


def _lengths(table: pa.Table, column: str) -> NDArray[np.int64]:
    if column not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    lengths: NDArray[np.int64] = pc.list_value_length(table[column]).fill_null(0).to_numpy().astype(np.int64)
    return lengths


def _check_codes(table: pa.Table, path: Path, codebook_size: int, layers: int) -> None:
    if "answer_codes" not in table.column_names:
        return
    width = table.schema.field("answer_codes").type.value_type.list_size
    if width != layers:
        raise SetupError(f"{path} has codes in {width} layers; the model has {layers}")
    for chunk in table["answer_codes"].chunks:
        if chunk.flatten().flatten().to_numpy().max(initial=0) >= codebook_size:
            break
    else:
        return
    for index in range(table.num_rows):
        codes = matrix(table["answer_codes"], index)
        if codes is not None and (highest := int(codes.max(initial=0))) >= codebook_size:
            raise SetupError(f"{path}: row {table['id'][index]} holds code {highest}; codes are below {codebook_size}")


def _turn_keys(table: pa.Table, place: Path) -> list[tuple[Any, ...]]:
    columns = [table[name].to_pylist() for name in ("split_name", "conversation", "variant", "turn")]
    return [(place, *key) for key in zip(*columns, strict=True)]


def _previous(turns: Sequence[tuple[Any, ...]]) -> NDArray[np.int64]:
    """Number of each row's earlier turn, by where it is, split name, conversation, variant and turn."""
    numbers = {key: number for number, key in enumerate(turns)}
    return np.array([numbers.get((*key[:-1], key[-1] - 1), -1) for key in turns], np.int64)
