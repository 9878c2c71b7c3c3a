"""Stores: files appear whole, and only one writer is first."""

import threading

import pytest

from anytalk.pipelines.dataset.store import Store


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
