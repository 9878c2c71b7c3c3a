"""Sidecars in little memory are what they say, and a listing is what is there."""

import json
import tracemalloc

import pytest

from anytalk.pipelines.dataset import Sidecars, Store, commit

SIDECAR = {
    "unit": 0,
    "files": [{"path": "shards/train-000499-18ecdd44e0f3ceaf.arrow", "sha256": "1" * 64, "bytes": 9, "rows": 64}],
    "gates": {side: {"rows": 64, "passed_first": 64, "by_gate": {}} for side in ("question", "answer")},
    "judgement": 0,
    "seconds": {"voices": 0.25, "codec": 0.5},
}


def test_sidecars_are_a_mapping_of_what_they_say():
    found = Sidecars({3: commit.json_bytes(SIDECAR)})
    found[1] = {"unit": 1, "note": "é"}
    assert found == {3: SIDECAR, 1: {"unit": 1, "note": "é"}}
    assert (list(found), list(found.in_order()), 1 in found, 2 in found) == ([3, 1], [1, 3], True, False)
    assert found.only({1}) | Sidecars({2: b"{}"}) == {1: {"unit": 1, "note": "é"}, 2: {}}
    del found[3]
    assert list(found) == [1]


def test_a_sidecar_takes_no_more_than_its_bytes(tmp_path):
    store, content = Store(tmp_path), commit.json_bytes(SIDECAR)
    (tmp_path / "units").mkdir()
    for number in range(400):
        (tmp_path / commit.sidecar_path(number, "0" * 16)).write_bytes(content)
    tracemalloc.start()
    found = commit.sidecars(store)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 400
    assert taken < 400 * (len(content) + 300)


def test_of_several_judgements_of_a_unit_the_last_one_counts(tmp_path):
    store = Store(tmp_path)
    for judgement, key in ((0, "b"), (10, "a"), (9, "c")):
        store.write(commit.sidecar_path(7, key), json.dumps({"unit": 7, "judgement": judgement}).encode())
    assert commit.sidecars(store) == {7: {"unit": 7, "judgement": 10}}


@pytest.mark.parametrize("folder", ["", "a", "a/deep/", "none"])
def test_files_of_a_folder_are_listed_as_those_of_a_bucket_are(tmp_path, folder):
    stores = [Store(tmp_path / "here"), Store(f"memory://{tmp_path.name}{folder.replace('/', '-')}")]
    for store in stores:
        for path in ("z", "a/b", "a/deep/er/c", "a-b/d"):
            store.write(path, path.encode())
    local, bucket = (store.sizes(folder) for store in stores)
    assert list(local.items()) == list(bucket.items())
