"""Stores: files appear whole, and only one writer is first."""

import errno
import sys
import threading

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from anytalk.pipelines.dataset import StorageError, Store
from anytalk.synth.errors import MissingExtra


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return Store(tmp_path / "data" if request.param == "local" else f"memory://{tmp_path.name}")


def test_a_file_is_created_once(store):
    assert store.create("units/1.json", b"first")
    assert not store.create("units/1.json", b"second")
    assert store.read("units/1.json") == b"first"


def test_files_are_listed_relative_to_the_root_and_deleted(store):
    store.write("b/2", b"x")
    store.write("a", b"y")
    assert store.files() == ["a", "b/2"]
    assert store.files("b") == ["b/2"]
    store.delete("a")
    assert store.files() == ["b/2"]


def test_several_files_come_in_the_order_that_they_were_asked_for(store):
    for number in range(50):
        store.write(f"units/{number}", str(number).encode())
    assert store.read_each([f"units/{number}" for number in range(50)]) == [str(n).encode() for n in range(50)]
    with pytest.raises(FileNotFoundError):
        store.read_each(["units/1", "units/50"])


def test_an_empty_store_lists_nothing(store):
    assert store.files() == []
    assert not store.exists("a")


def test_of_many_writers_exactly_one_is_first_and_no_part_is_left(tmp_path):
    store = Store(tmp_path)
    wins = []

    def race(number):
        if store.create("units/1.json", bytes([number]) * 100_000):
            wins.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.read("units/1.json") == bytes([wins[0]]) * 100_000
    assert store.files() == ["units/1.json"]


def test_sizes_come_with_the_names(store):
    store.write("b/2", b"xyz")
    store.write("a", b"")
    assert store.sizes() == {"a": 0, "b/2": 3}


def test_deleting_what_somebody_else_deleted_is_no_error(store):
    store.write("a", b"x")
    store.delete("a")
    store.delete("a")


def test_a_local_file_is_replaced_whole_and_no_part_is_left(tmp_path):
    store = Store(tmp_path)
    store.write("a", b"first")
    with (tmp_path / "a").open("rb") as reader:
        store.write("a", b"second, and longer")
        assert reader.read() == b"first"  # Whoever was reading has the old file whole.
    assert store.read("a") == b"second, and longer"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


class Throttled(MemoryFileSystem):
    """An object store that answers 503 a number of times."""

    cachable = False
    failures = 0

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "503 Slow Down")
        super().pipe_file(path, value, mode, **kwargs)


def throttled(name, failures):
    store = Store(f"memory://{name}", attempts=3, backoff_s=0.001)
    store.filesystem = Throttled()
    store.filesystem.failures = failures
    return store


@pytest.mark.parametrize("method", ["write", "create"])
def test_a_storage_that_fails_for_a_while_is_tried_again(tmp_path, method):
    store = throttled(tmp_path.name, failures=2)
    getattr(store, method)("a", b"x")
    assert store.read("a") == b"x"


def test_a_storage_that_goes_on_failing_is_named_with_what_was_tried(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write a: OSError: .*503 Slow Down; tried 3 times"):
        throttled(tmp_path.name, failures=9).write("a", b"x")


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("s3://b/c", "s3fs", "s3"), ("gs://b/c", "gcsfs", "gcs"), ("https://host/set", "aiohttp", "http")],
)
def test_a_package_that_is_not_installed_is_named_with_its_command(monkeypatch, url, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, url.partition(":")[0], raising=False)
    with pytest.raises(MissingExtra, match=rf'{package}, which {url} needs, .* pip install "anytalk\[{extra}\]"'):
        Store(url)
