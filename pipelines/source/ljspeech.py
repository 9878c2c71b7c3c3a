"""A folder as LJSpeech has it: recordings in wavs/, and their transcripts in the lines of metadata.csv.

The form: https://keithito.com/LJ-Speech-Dataset: `id|text|normalised text` without a header, and no quotation marks
around fields. Others write `id|text`, or a speaker behind the id, or a header and another delimiter: read as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath

from anytalk.pipelines.concurrency import several_in_order
from anytalk.pipelines.dataset import local_file
from anytalk.pipelines.recipe import LjSpeech, LjSpeechField
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.remote import is_url

from .delimited import DELIMITERS, read_csv
from .encoding import lines_of
from .pair import BadPair, Pair
from .recordings import AUDIO_SUFFIXES, Folder, at_once, folder_of
from .table import ROW_ERRORS, text_in

BY_COUNT: dict[int, tuple[LjSpeechField, ...]] = {
    2: ("id", "text"),
    3: ("id", "text", "normalised"),
    4: ("id", "speaker", "text", "normalised"),
}
"""What the fields of a line are, by their number."""

HEADERS: dict[str, LjSpeechField] = {
    **dict.fromkeys(("id", "file", "file_name", "filename", "audio", "audio_file", "wav", "path"), "id"),
    **dict.fromkeys(("speaker", "speaker_name", "speaker_id"), "speaker"),
    **dict.fromkeys(("text", "transcription", "transcript", "sentence"), "text"),
    **dict.fromkeys(("normalised", "normalized", "normalized_text", "normalized_transcription"), "normalised"),
}
"""Names that columns have where the first line is a header."""

LOOKED_AT = 50
"""Lines that are looked at for a speaker in the place of the text."""

Line = tuple[int, dict[str, str | None] | str]
"""Number of a line, and its fields, or what is wrong with it."""


class Recordings:
    """The recordings of a set, by the names that its table has for them.

    Args:
        folder: of the set.
        table: name of its table, for messages.
    """

    def __init__(self, folder: Folder, table: str) -> None:
        self.folder, self.table = folder, table
        self._files = frozenset(folder.files())

    @cached_property
    def _by_name(self) -> dict[str, list[PurePath]]:
        """Every recording in any subfolder, by its name with and without its suffix."""
        found: dict[str, list[PurePath]] = {}
        for file in self.all():
            for name in {file.name, file.stem}:
                found.setdefault(name, []).append(file)
        return found

    def all(self) -> list[PurePath]:
        """Every recording of the folder, by its path within it."""
        return sorted(file for file in self._files if file.suffix.lower() in AUDIO_SUFFIXES)

    def find(self, name: str) -> PurePath:
        """The recording of an id: a path, or a name with any suffix in wavs/, or else in any subfolder.

        Raises:
            SampleError: `missing_audio`.
            SetupError: the folder holds no recordings at all.
        """
        for exact in (self._within("wavs", name), self._within(name)):
            candidates = [exact, exact.with_name(f"{exact.name}.wav")]
            candidates += (exact.with_name(f"{exact.name}{suffix}") for suffix in sorted(AUDIO_SUFFIXES))
            for file in candidates:
                if file in self._files and self.folder.missing(file) is None:
                    return file
        if not self._by_name:
            known = ", ".join(sorted(AUDIO_SUFFIXES))
            raise SetupError(f"source.path: {self.folder.path} holds no recordings for {self.table}; known: {known}")
        own = PurePath(name).name
        found = self._by_name.get(own) or self._by_name.get(PurePath(own).stem) or []
        if len(found) > 1:
            where = ", ".join(self.folder.place(file) for file in found[:3])
            raise SampleError("missing_audio", f"several recordings are called {own!r}: {where}; name the folder, too")
        if not found:
            raise SampleError("missing_audio", f"there is no recording {name!r} in wavs/, nor elsewhere in the folder")
        return found[0]

    def _within(self, *parts: str) -> PurePath:
        return (PurePath if self.folder.is_near else PurePosixPath)(*parts)


def ljspeech_pairs(source: LjSpeech) -> Iterator[Pair | BadPair]:
    """Read the recordings of a folder as questions with their transcripts, and each that no line names as a reject.

    Raises:
        SetupError: the folder has no such table, or its lines are of another form.
    """
    if not is_url(source.path):
        _refuse_no_set(source, Path(source.path))
    folder = folder_of(source.path)
    with local_file(f"{folder.path}/{source.metadata}") as table:
        yield from _pairs(source, folder, table)


def _refuse_no_set(source: LjSpeech, folder: Path) -> None:
    """Raise for what is no folder with a table."""
    if folder.is_file():
        _refuse_file(folder)
    if not (folder / source.metadata).is_file():
        raise SetupError(
            f"source.path: {folder} has no {source.metadata}, as an ljspeech source does; a folder of recordings with "
            f"NAME.txt beside them is of the kind recordings: --set 'source={{kind: recordings, path: {folder}}}'"
        )


def _pairs(source: LjSpeech, folder: Folder, table: Path) -> Iterator[Pair | BadPair]:
    recordings = Recordings(folder, source.metadata)
    named: set[PurePath] = set()

    def read(line: Line) -> Pair | BadPair:
        number, fields = line
        place = f"{table.name}:{number}"
        if isinstance(fields, str):
            return BadPair("malformed_row", fields, place)
        try:
            return _pair(source, recordings, fields, place, named)
        except SampleError as error:
            return BadPair(error.reason, error.detail, place)
        except ROW_ERRORS as error:
            return BadPair("malformed_row", " ".join(str(error).split())[:300], place)

    rows = 0
    for pair in several_in_order(read, _lines(source, table), at_once(folder)):
        rows += 1
        yield pair
    if not rows:
        raise SetupError(f"source.path: {table} holds no rows")
    for file in recordings.all():
        if file not in named:
            yield BadPair("unused_file", f"no line of {source.metadata} names it", folder.place(file))


def _refuse_file(path: Path) -> None:
    """Raise for a table in place of its folder."""
    beside = f"path: {path.parent}" + ("" if path.name == "metadata.csv" else f", metadata: {path.name}")
    raise SetupError(
        f"source.path: {path} is a file; an ljspeech source is the folder of its recordings: "
        f"--set 'source={{kind: ljspeech, {beside}}}'; a table with columns is --set source={path}"
    )


def _lines(source: LjSpeech, table: Path) -> Iterator[Line]:
    first = next((line for _, line in lines_of(table) if line and line.strip()), "")
    header = {name: HEADERS[name.lower()] for name in _header(first)}
    if header and source.fields is None:
        for number, row in read_csv(table):
            yield number, row if isinstance(row, str) else {header[name]: row[name] for name in header}
        return
    mark = "\t" if "|" not in first and "\t" in first else "|"
    fields = source.fields or _fields(table, first, mark)
    for number, text in lines_of(table):
        if text is None:
            yield number, "not in the encoding of the rest, or too long"
        elif text.strip():
            parts = text.split(mark)
            if len(parts) == len(fields):
                yield number, dict(zip(fields, parts, strict=True))
            else:
                between = "bars" if mark == "|" else "tabs"
                yield number, f"{len(parts)} fields between {between}; {'|'.join(fields)} are {len(fields)}"


def _header(line: str) -> list[str]:
    """Names in a header; none for a line that is a row."""
    for delimiter in DELIMITERS:
        names = [name.strip() for name in line.split(delimiter)]
        found = {HEADERS.get(name.lower()) for name in names}
        if len(found) == len(names) > 1 and None not in found and "id" in found:
            return names
    return []


def _fields(table: Path, first: str, mark: str) -> tuple[LjSpeechField, ...]:
    """What the fields of a line are.

    Raises:
        SetupError: that cannot be told.
    """
    count = first.count(mark) + 1
    if count == 1:
        raise SetupError(
            f"source.path: the first line of {table} has neither bars nor tabs, as in id|text; where commas part the "
            "fields, write the header file_name,transcription above them"
        )
    if count not in BY_COUNT:
        raise SetupError(
            f"source.fields: the first line of {table} has {count} fields; say what they are, such as "
            "--set 'source.fields=[id, speaker, text, normalised]'"
        )
    lines = (line for _, line in islice(lines_of(table), LOOKED_AT))
    rows = [line.split(mark) for line in lines if line and line.count(mark) == count - 1]
    if count == 3 and not any(row[1] == row[2] for row in rows):
        _refuse_speakers(table, [row[1] for row in rows], "second", "[id, speaker, text]")
        _refuse_speakers(table, [row[2] for row in rows], "third", "[id, text, speaker]")
    return BY_COUNT[count]


def _refuse_speakers(table: Path, values: Sequence[str], which: str, fields: str) -> None:
    """Raise for a field that is no text: one word or number that comes again and again."""
    words = [value.strip() for value in values]
    if len(set(words)) < len(words) and all(word and not any(map(str.isspace, word)) for word in words):
        raise SetupError(
            f"source.fields: the {which} field of {table} looks like a speaker ({words[0][:40]!r}), not like a text; "
            f"say so: --set 'source.fields={fields}' (or [id, text, normalised] if it is one)"
        )


def _pair(
    source: LjSpeech, recordings: Recordings, fields: Mapping[str, str | None], place: str, named: set[PurePath]
) -> Pair:
    name = text_in(fields, "id")
    if not name:
        raise ValueError("the line names no recording")
    file = recordings.find(name)
    named.add(file)
    written, spoken = text_in(fields, "text"), text_in(fields, "normalised")
    question = spoken or written or ""
    return Pair(
        split_name=source.split_name or recordings.folder.name,
        conversation=name,
        turn=0,
        question=question,
        answer=None,
        language=source.language,
        question_recording=recordings.folder.recording(file),
        question_written=written or question,
        source=place,
        question_speaker=text_in(fields, "speaker") or None,
    )
