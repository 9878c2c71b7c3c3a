"""Sources at URLs: tables and recordings in a bucket or on a web server give the rows that they give on the disk."""

import dataclasses
import functools
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from pydantic import TypeAdapter

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.recipe import Source
from anytalk.pipelines.source import Attachments, BadPair, Pair, read_pairs, read_recording, stamp
from anytalk.synth.errors import SetupError

RATE_HZ = 16_000
pytestmark = pytest.mark.usefixtures("busy")


@pytest.fixture
def busy(faults):
    """A server of which some requests fail."""
    faults.rate = 0.05


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def web(tmp_path):
    """A web server of a folder: its address."""
    handler = functools.partial(Silent, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def tone(path: Path, hz: float, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (0.3 * np.sin(hz * np.arange(int(seconds * RATE_HZ)) / 2000)).astype(np.float32), RATE_HZ)


@pytest.fixture
def talks(tmp_path):
    """Recordings in a folder, and a table that names them, and one that is not there."""
    folder = tmp_path / "talks"
    for number, name in enumerate(("one", "deep/two", "no-suffix")):
        tone(folder / f"{name}.wav", 300 + 100 * number)
        (folder / f"{name}.txt").write_text(f"This is {name}.")
    (folder / "no-suffix.wav").rename(folder / "no-suffix")
    (folder / ".hidden.wav").write_bytes(b"")
    (folder / "orphan.txt").write_text("Nobody said it.")
    (folder / "notes.md").write_text("# Notes")
    names = ["one.wav", "deep/two.wav", "gone.wav"]
    rows = [{"question": f"What is {n}?", "answer": "A talk.", "question_audio": name} for n, name in enumerate(names)]
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def sent(folder: Path, store: Store) -> str:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        store.write(path.relative_to(folder).as_posix(), path.read_bytes())
    return str(store)


def source_of(path, **more):
    return TypeAdapter(Source).validate_python({"kind": "recordings", "path": str(path), "split_name": "talks", **more})


def read(source):
    return list(read_pairs(source, Attachments(None)))


def told(rows):
    """Rows without the places of their recordings and files."""
    found = []
    for row in rows:
        if isinstance(row, BadPair):
            found.append((row.reason, row.source))
        else:
            recording = row.question_recording and dataclasses.replace(row.question_recording, path="")
            found.append(dataclasses.replace(row, question_recording=recording))
    return found


def test_a_folder_of_recordings_in_a_bucket_gives_the_rows_of_one_on_the_disk(talks, bucket):
    (talks / "table.jsonl").unlink()
    there, here = read(source_of(sent(talks, bucket))), read(source_of(talks))
    assert told(there) == told(here)
    assert [row.reason for row in there if isinstance(row, BadPair)] == ["missing_audio", "unused_file"]
    recordings = [row.question_recording for row in there if isinstance(row, Pair)]
    assert len(recordings) == 3
    assert [read_recording(one) for one in recordings] == [
        Path(one.path).read_bytes() for one in (row.question_recording for row in here if isinstance(row, Pair))
    ]


def test_a_table_in_a_bucket_names_recordings_beside_it(talks, bucket):
    url = f"{sent(talks, bucket)}/table.jsonl"
    there, here = read(source_of(url)), read(source_of(talks / "table.jsonl"))
    assert told(there) == told(here)
    assert [row.reason for row in there if isinstance(row, BadPair)] == ["missing_audio"]
    assert there[1].question_recording.path == f"{bucket}/deep/two.wav"


def test_long_recordings_in_a_bucket_are_listened_to_as_on_the_disk(bucket, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "long").mkdir()
    soundfile.write(tmp_path / "long" / "a.flac", 0.1 * rng.standard_normal(31 * RATE_HZ), RATE_HZ)
    tone(tmp_path / "long" / "b.wav", 300)
    url = sent(tmp_path / "long", bucket)
    there, here = (read(source_of(path, transcribe=True)) for path in (url, tmp_path / "long"))
    assert told(there) == told(here)
    assert len(there) >= 2


def test_a_web_server_gives_tables_and_recordings_but_no_folders(talks, web):
    url = f"{web}/talks/table.jsonl"
    assert told(read(source_of(url))) == told(read(source_of(talks / "table.jsonl")))
    before = stamp(source_of(url))
    assert before[0][:2] == (url, (talks / "table.jsonl").stat().st_size)
    assert stamp(source_of(url)) == before
    with pytest.raises(SetupError, match=r"a web server does not list the files of a folder"):
        read(source_of(f"{web}/talks"))
    with pytest.raises(SetupError, match=r"none\.jsonl does not exist"):
        stamp(source_of(f"{web}/talks/none.jsonl"))


def test_what_is_wrong_with_a_table_is_told_with_its_url(bucket):
    bucket.write("wrong.csv", b"one,two\n1,2\n")
    with pytest.raises(SetupError, match=r"no column 'question' in wrong"):
        read(TypeAdapter(Source).validate_python(f"{bucket}/wrong.csv"))
    bucket.write("broken.parquet", b"PAR1 is how it begins")
    with pytest.raises(SetupError, match=rf"source.path: {bucket}/broken.parquet is no Parquet file"):
        read(TypeAdapter(Source).validate_python(f"{bucket}/broken.parquet"))


def test_the_stamp_of_a_folder_in_a_bucket_changes_with_any_of_its_files(talks, bucket):
    url = sent(talks, bucket)
    before = stamp(source_of(url))
    assert (len(before), *before[0][:2]) == (1, url, 10)
    assert stamp(source_of(url)) == before
    bucket.write("one.txt", b"This is two.")  # Of the same length.
    assert stamp(source_of(url)) != before
    with pytest.raises(SetupError, match="does not exist"):
        stamp(source_of(f"{url}/nowhere"))


def test_a_dataset_and_its_source_both_lie_in_a_bucket(fake_recipe, bucket, talks):
    """Recordings that are files of their own, and others that a table holds, which are kept in packs meanwhile."""
    names = [talks / "one.wav", talks / "deep" / "two.wav"]
    rows = [{"question": f"What is {n}?", "question_audio": name.read_bytes()} for n, name in enumerate(names)]
    pq.write_table(pa.Table.from_pylist(rows), talks / "held.parquet")
    url = sent(talks, bucket)
    sources = [{"kind": "recordings", "path": f"{url}/table.jsonl"}, {"kind": "parquet", "path": f"{url}/held.parquet"}]
    out = f"{url}-out"
    summary = build(fake_recipe(source=sources), out, local=True)
    assert (summary.rows_accepted, summary.rows_rejected) == (4, 1)
    assert check(out, workers=1).problems == []
    assert Store(out).files("plan/kept") == []


def test_an_ljspeech_folder_in_a_bucket_gives_the_rows_of_one_on_the_disk(bucket, tmp_path):
    for name in ("wavs/A-001.wav", "more/A-002.flac", "wavs/unused.wav"):
        tone(tmp_path / "set" / name, 100 * len(name))
    lines = ["A-001|It is 5.|It is five.", "A-002|Here.|Here.", "A-003|Not there.|Not there.", "A-004|Too short."]
    (tmp_path / "set/metadata.csv").write_text("\n".join(lines))
    url = sent(tmp_path / "set", bucket)
    there, here = (read(source_of(path, kind="ljspeech")) for path in (url, tmp_path / "set"))
    assert told(there) == told(here)
    assert [row.reason for row in there if isinstance(row, BadPair)] == [
        "missing_audio",
        "malformed_row",
        "unused_file",
    ]
    assert [row.question_recording.path for row in there if isinstance(row, Pair)] == [
        f"{url}/wavs/A-001.wav",
        f"{url}/more/A-002.flac",
    ]
    with pytest.raises(SetupError, match=rf"{url}/other.csv does not exist"):
        read(source_of(url, kind="ljspeech", metadata="other.csv"))


def test_a_grammar_in_a_bucket_is_read_again_when_it_has_changed(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kind = "{combinations: 2, questions: [Greet me.], answer: '%s, {who}.'}"
    grammar = f"kinds: {{greetings: {kind}}}\nwords: {{who: [Ann, Bob]}}"
    (tmp_path / "set").mkdir()
    (tmp_path / "set/greetings.yaml").write_text(grammar % "Hello")
    url = f"{sent(tmp_path / 'set', bucket)}/greetings.yaml"
    source = source_of(url, kind="grammar")
    before = stamp(source)
    assert {pair.answer for pair in read(source)} == {"Hello, Ann.", "Hello, Bob."}
    bucket.write("greetings.yaml", (grammar % "Good morning").encode())
    assert stamp(source) != before
    assert {pair.answer for pair in read(source)} == {"Good morning, Ann.", "Good morning, Bob."}
