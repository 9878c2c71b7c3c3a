"""Recipes that need no weights: tones for voices, a recogniser that hears nothing, a codec of loudness."""

import collections
import dataclasses
import json
import os
import secrets
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings
from support.cluster import cluster
from support.hostile import HOSTILE
from support.object_store import BUCKET, KEYS, object_store

from anytalk.pipelines import build
from anytalk.pipelines.dataset import Store, commit, schema
from anytalk.synth.judge.policy import Policy
from anytalk.synth.threads import torch_threads

# Ray asks for a token, and would write one into the home folder: give it one for these tests and what they start.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

# A suite that passed must pass again: the same examples every time. `--hypothesis-profile random` looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False, print_blob=True)
settings.load_profile("same")


def pytest_configure(config):
    """Side by side, tests have a core each: what they start inherits this."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Keep a file's tests on one worker, as they share fixtures, and so all that run on Ray; the longest come first."""
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: ("on_ray" not in item.fixturenames, -slow[item.path]))
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if "on_ray" in item.fixturenames else str(item.path)))


def pytest_terminal_summary(terminalreporter):
    """Name the tests that `make check-fast` runs and should not."""
    seconds = collections.Counter()
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and "slow" not in report.keywords:
            seconds[report.nodeid] += report.duration
    for name, took_s in seconds.most_common(10):
        if took_s > UNMARKED_S:
            terminalreporter.write_line(f"{name} took {took_s:.0f} s: if it takes five alone, mark it slow")


UNMARKED_S = 10.0
"""Seconds of a test that are told, twice those of a slow one: a machine may have other work as well."""

ANYTHING = dict.fromkeys(bound.name for bound in dataclasses.fields(Policy))
"""A policy that lets everything pass."""

FAKE = {
    "name": "fake",
    "source": "bundled",
    "voices": {"question": ["fake:ann", "fake:bob"], "answer": "fake:eve"},
    "check": {"mos": "fake", "question": ANYTHING, "answer": ANYTHING},
    "features": {"model": "fake"},
    "codec": {"model": "fake"},
    "shards": {"unit_rows": 4, "batch_rows": 2},
}


@pytest.fixture
def anything():
    """A policy that lets everything pass."""
    return dict(ANYTHING)


@pytest.fixture(scope="session")
def fake_sections():
    """Sections of a recipe of fake engines."""
    return dict(FAKE)


@pytest.fixture
def fake_recipe(tmp_path):
    """Write a recipe of fake engines with some sections replaced, and give its path."""

    def write(name="fake.yaml", **sections) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(FAKE | sections))
        return path

    return write


@pytest.fixture(scope="session")
def mixed_dataset(tmp_path_factory, fake_sections):
    """A finished dataset, not to be changed: rows that pass at once, on retry, never, and one that the plan rejects.

    Tones are no speech, so all of one is silence: the gate is for its length, which changes from attempt to attempt.
    """
    folder = tmp_path_factory.mktemp("mixed")
    pairs = [{"question": f"Number {n}?", "answer": "Said" + " so" * (n % 5) + "."} for n in range(8)]
    pairs.append({"question": f"What is this? {HOSTILE}", "answer": "No idea."})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    speeds = [0.6, 1.6]
    sections = fake_sections | {
        "source": str(folder / "pairs.jsonl"),
        "voices": {
            "question": [{"voice": "fake:ann", "speed": speeds}, {"voice": "fake:bob", "speed": speeds}],
            "answer": {"voice": "fake:eve", "speed": speeds},
        },
        "check": {
            "attempts": 3,
            "mos": "fake",
            "question": ANYTHING,
            "answer": ANYTHING | {"max_leading_silence_s": 0.5},
        },
    }
    (folder / "mixed.yaml").write_text(yaml.safe_dump(sections))
    build(folder / "mixed.yaml", folder / "mixed", local=True)
    return folder / "mixed"


@pytest.fixture(scope="module")
def one_thread():
    """Torch on one thread, so that sums, and all that is compared with them, come out alike on every machine."""
    with torch_threads(1):
        yield


@pytest.fixture
def write_jsonl(tmp_path):
    """Write rows as a JSON-lines file, and give its path."""

    def write(rows, name="pairs.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture(scope="session")
def object_server():
    """An S3 server that all tests share: its address, and what goes wrong at it. File systems know one address."""
    pytest.importorskip("s3fs", reason='needs pip install "anytalk[test]"')
    pytest.importorskip("moto.server", reason='needs pip install "anytalk[test]"')
    with object_store() as served:
        yield served


@pytest.fixture
def faults(object_server, monkeypatch):
    """What goes wrong at the server that this process, and those that it starts, use; at first, nothing."""
    address, faults = object_server
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    faults.rate, faults.next = 0.0, []
    faults.seen.clear()
    yield faults
    faults.rate, faults.held = 0.0, ""


@pytest.fixture
def bucket(faults, tmp_path):
    """A folder of a bucket, as a store."""
    return Store(f"s3://{BUCKET}/{tmp_path.name}", attempts=9, backoff_s=0.01)


@pytest.fixture(scope="session")
def ray_address():
    """A cluster of Ray that all tests share; it starts with the first that asks for it."""
    with cluster() as address:
        yield address


@pytest.fixture
def on_ray(ray_address, monkeypatch):
    """Let what runs on Ray, here and in subprocesses, run on the shared cluster."""
    monkeypatch.setenv("RAY_ADDRESS", ray_address)


FINGERPRINTS = {
    "codec": {"name": "fake", "revision": "1", "sha256": "0" * 64},
    "features": {"model": "fake", "compute_type": "float32", "width": 6},
}


@pytest.fixture
def write_dataset(tmp_path, write_dataset_at):
    """Write a tiny dataset into the test's folder; see `write_dataset_at`."""
    return lambda name="dataset", *arguments, **more: write_dataset_at(tmp_path / name, *arguments, **more)


@pytest.fixture(scope="session")
def write_dataset_at():
    """Write the shards of a tiny dataset with random codes and features, and give its folder."""

    def write(folder, splits=None, fingerprints=FINGERPRINTS, seed=0, change=None, rows_a_shard=5) -> Path:
        (folder / "shards").mkdir(parents=True)
        (folder / "dataset.json").write_text("{}")
        rng = np.random.default_rng(seed)
        wanted = schema.row_schema(fingerprints["features"]["width"], fingerprints)
        for split, count in (splits or {"train": 20, "validation": 6}).items():
            rows = [_random_row(rng, folder.name, split, number, wanted) for number in range(count)]
            for row in rows if change else ():
                change(row)
            for start in range(0, count, rows_a_shard):
                content = commit.arrow_bytes(schema.table(rows[start : start + rows_a_shard], wanted), 2)
                (folder / "shards" / f"{split}-{start:06d}-{commit.sha256(content)[:16]}.arrow").write_bytes(content)
        return folder

    return write


WORDS = ("a", "bird", "can", "do", "every", "fine", "game", "here", "in", "june", "kids", "like", "my", "new", "old")


def _random_row(rng, name, split, number, wanted):
    frames, width = int(rng.integers(3, 40)), wanted.field("question_features").type.value_type.list_size
    return dict.fromkeys(wanted.names) | {
        "id": f"{name}-{split}-{number}",
        "split_name": name,
        "conversation": f"{split}-{number // 2}",
        "turn": number % 2,
        "variant": 0,
        "question": " ".join(rng.choice(WORDS, rng.integers(2, 8))) + "?",
        "answer": " ".join(rng.choice(WORDS, rng.integers(2, 12))) + ".",
        "language": "en",
        "question_features": rng.standard_normal((frames, width)).astype(np.float16),
        "answer_codes": rng.integers(0, 4096, (int(rng.integers(1, 20)), 7)).astype(np.uint16),
        "attempts": 1,
        "seed": number,
    }
