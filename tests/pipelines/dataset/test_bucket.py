"""Datasets in a bucket: moto's S3 server on this machine, with errors, lost races, cut connections and a kill."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml
from support.object_store import BUCKET

from anytalk.pipelines import build, check, rejudge
from anytalk.pipelines.dataset import StorageError, Store
from anytalk.synth.errors import SetupError


def test_a_file_is_created_once(bucket):
    assert bucket.create("units/1.json", b"first")
    assert not bucket.create("units/1.json", b"second")
    assert bucket.read("units/1.json") == b"first"


@pytest.mark.parametrize("answer", ["412", "409"])
def test_a_race_that_is_lost_is_no_error(bucket, faults, answer):
    assert bucket.create("units/1.json", b"first")
    faults.next = [answer]
    assert not bucket.create("units/1.json", b"second")
    assert faults.seen[answer] == 1


def test_a_conflict_that_nobody_won_is_tried_again(bucket, faults):
    faults.next = ["409", "409"]
    assert bucket.create("units/1.json", b"only")
    assert (faults.seen["409"], bucket.read("units/1.json")) == (2, b"only")


def test_a_file_whose_creator_was_not_told_is_there_once(bucket, faults):
    faults.next = ["lost"]
    assert not bucket.create("units/1.json", b"mine")  # Whoever asks reads what is there, which is the same.
    assert bucket.read("units/1.json") == b"mine"


def test_of_many_writers_exactly_one_is_first(bucket):
    wins = []

    def race(number):
        if bucket.create("units/1.json", bytes([number]) * 1000):
            wins.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert bucket.read("units/1.json") == bytes([wins[0]]) * 1000


def test_many_files_are_read_and_deleted_at_once_whatever_fails(bucket, faults):
    names = [f"units/{number}" for number in range(30)]
    for name in names:
        bucket.write(name, name.encode())
    faults.rate = 0.2
    assert bucket.read_each(names) == [name.encode() for name in names]
    assert sum(faults.seen[kind] for kind in ("cut", "lost", "500", "503")) > 2
    with pytest.raises(FileNotFoundError):
        bucket.read_each([*names, "units/30"])
    assert list(bucket.sizes("units")) == sorted(names)
    bucket.delete_each([*names, "units/30"])
    assert bucket.files() == []


def test_large_files_go_both_ways_whatever_fails(bucket, faults, tmp_path):
    (tmp_path / "there").write_bytes(os.urandom(200_000))
    faults.rate = 0.2
    bucket.put("plan/plan.arrow", tmp_path / "there")
    bucket.get("plan/plan.arrow", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()


def test_a_store_without_folders_is_asked_to_make_none(bucket, faults):
    bucket.write("units/1", b"x")
    assert faults.seen["requests"] == 1


def test_a_bucket_that_is_not_there_is_told_in_one_line(faults):
    with pytest.raises(SetupError, match=r"s3://nowhere/set cannot be written: .*make the bucket"):
        Store("s3://nowhere/set").write("a", b"x")
    assert Store("s3://nowhere/set").files() == []


def test_a_store_that_goes_on_failing_is_named(faults):
    faults.rate = 1.0
    with pytest.raises(StorageError, match=rf"s3://{BUCKET}/set cannot write a: .*; tried 2 times"):
        Store(f"s3://{BUCKET}/set", attempts=2, backoff_s=0.01).write("a", b"x")


PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(24)]


@pytest.fixture(scope="module")
def local(tmp_path_factory, fake_sections):
    """A finished dataset on the disk, and the recipe that it was built by; some rows are rejected."""
    folder = tmp_path_factory.mktemp("local")
    rows = [pair if n % 4 else {**pair, "question": f"[unspeakable] {n}"} for n, pair in enumerate(PAIRS)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = fake_sections | {"source": str(folder / "pairs.jsonl"), "resources": {"units_in_flight": 2}}
    (folder / "bucket.yaml").write_text(yaml.safe_dump(recipe))
    build(folder / "bucket.yaml", folder / "out", local=True)
    return folder


def contents(store):
    """Bytes of all files but those that say when and how fast they were made."""
    names = [name for name in store.files() if name.startswith(("shards/", "rejects/", "attempts/", "plan/plan-"))]
    return dict(zip(names, store.read_each(names), strict=True)) | {"all": sorted(store.files())}


@pytest.mark.slow
def test_a_build_into_a_failing_bucket_has_the_bytes_of_a_local_one(local, faults, tmp_path):
    url = f"s3://{BUCKET}/{tmp_path.name}"
    faults.rate = 0.1
    assert build(local / "bucket.yaml", url, local=True).complete
    assert check(url, workers=1).problems == []
    assert contents(Store(url)) == contents(Store(local / "out"))
    assert sum(faults.seen[kind] for kind in ("cut", "lost", "500", "503")) > 5


@pytest.mark.slow
def test_a_build_that_is_killed_goes_on_in_the_bucket_to_the_same_bytes(local, faults, tmp_path):
    url = f"s3://{BUCKET}/{tmp_path.name}"
    faults.rate = 0.05
    faults.held = "units/000004"  # So that it cannot end before it is killed, however fast it is.
    command = [sys.executable, "-m", "anytalk.recipes", "build", str(local / "bucket.yaml"), "--out", url, "--local"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(Store(url).files("units")) < 2:
        assert process.poll() is None, "the build ended before it was killed"
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    faults.held = ""
    assert not Store(url).exists("dataset.json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert contents(Store(url)) == contents(Store(local / "out"))
    assert check(url, workers=1).problems == []


def test_a_dataset_in_a_bucket_is_judged_again(local, faults, tmp_path):
    url = f"s3://{BUCKET}/{tmp_path.name}"
    build(local / "bucket.yaml", url, local=True)
    faults.rate = 0.05
    strict = {"check.question.min_mos": 5.0}
    assert rejudge(url, strict, dry_run=True).went_out == rejudge(url, strict).went_out > 0
    assert check(url, workers=1).problems == []
