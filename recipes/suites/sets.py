"""What a suite is asked on: anytalk datasets, folders of recordings, LibriSpeech, tables, the Hugging Face hub.

Rows are read one after the other, so that of a large set on the hub only what is asked is fetched.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from anytalk.pipelines.dataset import MANIFEST, matrix
from anytalk.pipelines.recipe import TABLE_SUFFIXES, Hub, Recordings
from anytalk.pipelines.source import BadPair, Pair, hub_rows, lines_of, read_pairs, table_rows
from anytalk.recipes.data import mapped, shard_paths
from anytalk.synth.errors import SampleError, SetupError

from . import librispeech
from .item import BadItem, Item, item_of

LIBRISPEECH = "librispeech"
"""Names the four sets of LibriSpeech on the hub that Mini-Omni's paper was measured on."""

DEFAULT_SPLIT = "test"


@dataclass(frozen=True)
class EvaluationSet:
    """Something to ask a model; `read` starts anew each time."""

    name: str
    read: Callable[[], Iterator[Item | BadItem]]
    source: str
    """The dataset's hub id, or its path."""
    config: str | None = None
    split: str | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    """What has been published of other models: their name and their word error rate."""
    rows: int | None = None
    """How many there are, where that is known before they are read."""


@dataclass(frozen=True)
class Reading:
    """How a set is read.

    Attributes:
        split: of a dataset; the other kinds have none.
        config: of a dataset on the hub.
        columns: names of columns; see `item.item_of`.
        language: BCP-47 tag of rows that name none.
        style_tags: what texts may hold beside words; those of an anytalk dataset are known.
    """

    split: str | None = None
    config: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    language: str = "en"
    style_tags: tuple[str, ...] = ()


def evaluation_sets(name: str, reading: Reading) -> list[EvaluationSet]:
    """Find what a name stands for.

    Args:
        name: a finished anytalk dataset; LibriSpeech as it is unpacked; a folder of recordings with transcripts; a
            table or a text file; a hub id, a copy of a dataset of the hub; or `librispeech`.
        reading: how it is read.

    Raises:
        SetupError: it is none of them.
    """
    path, tags = Path(name), reading.style_tags
    if (path / MANIFEST).is_file():
        recipe = json.loads((path / MANIFEST).read_bytes()).get("recipe", {})
        tags = (*tags, *recipe.get("clean", {}).get("style_tags", ()))
    return [replace(one, read=partial(_tagged, one.read, tags)) if tags else one for one in _sets(name, reading)]


def _tagged(read: Callable[[], Iterator[Item | BadItem]], style_tags: tuple[str, ...]) -> Iterator[Item | BadItem]:
    return (replace(one, style_tags=style_tags) if isinstance(one, Item) else one for one in read())


def _sets(name: str, reading: Reading) -> list[EvaluationSet]:
    path = Path(name)
    if name == LIBRISPEECH and not path.exists():
        return _librispeech_on_hub(reading)
    if name == librispeech.HUB_ID and reading.split is None and reading.config is None:
        return _librispeech_on_hub(reading)
    if (path / MANIFEST).is_file():
        split = reading.split or DEFAULT_SPLIT
        _require_split(path, split)
        read = partial(_dataset_items, name, split)
        rows = _conversations(name, split)
        return [EvaluationSet(f"{path.name} {split}", read, name, split=split, rows=rows)]
    if path.is_dir() and (found := librispeech.find_sets(path)):
        return [
            EvaluationSet(
                each,
                partial(librispeech.read_set, paths),
                str(path),
                split=each,
                beside=_paper(each),
                rows=librispeech.count(paths),
            )
            for each, paths in found.items()
        ]
    suffix = path.suffix.lower()
    if suffix in {".txt", *TABLE_SUFFIXES} and not path.exists():
        raise SetupError(f"{path} does not exist")
    if path.is_file() and suffix in {".txt", *TABLE_SUFFIXES}:
        read = partial(_line_items, path, reading) if suffix == ".txt" else partial(_table_items, path, reading)
        return [EvaluationSet(path.stem, read, name)]
    if path.is_dir() and _is_folder_of_recordings(path):
        return [EvaluationSet(path.name, partial(_folder_items, path, reading), name)]
    return [_hub_set(name, reading)]


def _librispeech_on_hub(reading: Reading) -> list[EvaluationSet]:
    sets = []
    for name, (config, split) in librispeech.ON_HUB.items():
        there = Reading(split, config, reading.columns, reading.language)
        read = partial(_hub_items, librispeech.HUB_ID, there)
        sets.append(EvaluationSet(name, read, librispeech.HUB_ID, config, split, _paper(name)))
    return sets


def _paper(name: str) -> dict[str, float]:
    return {"Mini-Omni's paper": librispeech.PAPER_WER[name]} if name in librispeech.PAPER_WER else {}


def _hub_set(name: str, reading: Reading) -> EvaluationSet:
    split = reading.split or DEFAULT_SPLIT
    there = Reading(split, reading.config, reading.columns, reading.language)
    shown = " ".join(filter(None, (name, reading.config, split)))
    beside = {}
    if name == librispeech.HUB_ID:
        known = {place: each for each, place in librispeech.ON_HUB.items()}
        shown = known.get((reading.config or "", split), shown)
        beside = _paper(shown)
    return EvaluationSet(shown, partial(_hub_items, name, there), name, reading.config, split, beside)


# Kinds


def _require_split(path: Path, split: str) -> None:
    if not shard_paths(str(path), split):
        there = sorted({shard.name.rpartition("-")[0].rsplit("-", 1)[0] for shard in (path / "shards").glob("*.arrow")})
        raise SetupError(f"{path} has no split {split!r}; name one with --split: {', '.join(there)}")


def _conversations(dataset: str, split: str) -> int:
    """How many rows of a split are first turns."""
    turns = (mapped(shard)["turn"].to_numpy() for shard in shard_paths(dataset, split))
    return int(sum((turn == 0).sum() for turn in turns))


def _dataset_items(dataset: str, split: str) -> Iterator[Item | BadItem]:
    """First turns of an anytalk dataset; later ones cannot be understood alone."""
    for shard in shard_paths(dataset, split):
        table = mapped(shard)
        there = [name for name in ("id", "turn", "question", "answer", "language") if name in table.column_names]
        rows = table.select(there).to_pylist()
        has_audio, has_codes = ("question_audio" in table.column_names, "answer_codes" in table.column_names)
        for index, row in enumerate(rows):
            if row["turn"]:
                continue
            audio = (table["question_audio"][index].as_py() or {}) if has_audio else {}
            has = has_codes and table["answer_codes"][index].is_valid
            yield Item(
                id=row["id"],
                question=row["question"] or "",
                references=(row["answer"],) if row.get("answer") else (),
                audio=audio.get("bytes"),
                language=row["language"],
                codes=matrix(table["answer_codes"], index) if has else None,
            )


def _table_items(path: Path, reading: Reading) -> Iterator[Item | BadItem]:
    with _own_words():
        for place, row in table_rows(path, TABLE_SUFFIXES[path.suffix.lower()]):
            yield _item(row, place, path.parent, reading)


def _line_items(path: Path, reading: Reading) -> Iterator[Item | BadItem]:
    """A text file: a text on each line."""
    for number, line in lines_of(path):
        if line is None or line.strip():
            place = f"{path.name}:{number}"
            text = " ".join((line or "").split())
            yield Item(place, text, language=reading.language) if text else BadItem(place, "not UTF-8")


def _hub_items(dataset: str, reading: Reading) -> Iterator[Item | BadItem]:
    copy = Path(dataset)
    folder = copy if copy.is_dir() else copy.parent
    source = Hub(kind="hub", dataset=dataset, config=reading.config, split=reading.split or DEFAULT_SPLIT)
    with _own_words():
        for place, row in hub_rows(source):
            yield _item(row, place, folder, reading)


def _item(row: "Mapping[str, object] | BadPair", place: str, folder: Path, reading: Reading) -> Item | BadItem:
    if isinstance(row, BadPair):
        return BadItem(place, f"{row.reason}: {row.detail}")
    try:
        return item_of(row, place, folder, reading.columns, reading.language)
    except SampleError as error:
        return BadItem(place, str(error))


def _is_folder_of_recordings(path: Path) -> bool:
    """Whether transcripts stand beside the recordings, and it is no copy of a dataset of the hub."""
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return False
    return not any(path.rglob("*.parquet")) and any(path.rglob("*.txt"))


def _folder_items(path: Path, reading: Reading) -> Iterator[Item | BadItem]:
    """NAME.wav with NAME.txt, and NAME.answer.txt where there is one; see the source `recordings`."""
    source = Recordings(kind="recordings", path=str(path), language=reading.language)
    with _own_words():
        for pair in read_pairs(source):
            if isinstance(pair, BadPair):
                yield BadItem(pair.source, f"{pair.reason}: {pair.detail}")
            elif isinstance(pair, Pair):
                audio = Path(pair.question_recording.path) if pair.question_recording else None
                references = (pair.answer,) if pair.answer else ()
                yield Item(pair.source, pair.question or "", references, audio, pair.language)


@contextmanager
def _own_words() -> Iterator[None]:
    """Take the keys of a recipe, which a command line has none of, out of what readers say of a source."""
    try:
        yield
    except SetupError as error:
        raise SetupError(re.sub(r"^source(\.\w+)*: ", "", str(error))) from error
