"""Anyone can load a dataset: `datasets` finds splits and types, `pyarrow` maps a shard and reads one row."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from datasets import Audio, load_dataset

from anytalk.pipelines import build
from anytalk.pipelines.dataset import schema

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fake_sections):
    import yaml

    root = tmp_path_factory.mktemp("load")
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    recipe = fake_sections | {"source": str(root / "pairs.jsonl"), "split": {"validation": 0.4}}
    (root / "load.yaml").write_text(yaml.safe_dump(recipe))
    build(root / "load.yaml", root / "out", local=True)
    return root / "out"


@pytest.mark.filterwarnings("default")  # of third parties: deprecations in datasets and what it imports
def test_load_dataset_finds_splits_types_and_values(folder, tmp_path):
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "validation"}
    assert loaded["train"].num_rows + loaded["validation"].num_rows == len(PAIRS)
    assert isinstance(loaded["train"].features["question_audio"], Audio)
    rows = loaded["train"].cast_column("question_audio", Audio(decode=False))
    rows = rows.cast_column("answer_audio", Audio(decode=False))
    row = rows[0]
    samples, rate_hz = soundfile.read(io.BytesIO(row["question_audio"]["bytes"]))
    assert (rate_hz, len(samples)) == (16_000, row["question_samples"])
    [shard, *_] = sorted((folder / "shards").glob("train-*.arrow"))
    stored = pa.ipc.open_file(shard).read_all()
    assert np.array_equal(np.array(row["answer_codes"]), schema.matrix(stored["answer_codes"], 0))
    assert np.array_equal(np.array(row["question_features"], np.float16), schema.matrix(stored["question_features"], 0))


def test_a_mapped_shard_gives_a_row_without_reading_the_rest(folder):
    [shard, *_] = sorted((folder / "shards").glob("train-*.arrow"))
    with pa.memory_map(str(shard)) as source:
        before = pa.total_allocated_bytes()
        reader = pa.ipc.open_file(source)
        batch = reader.get_batch(reader.num_record_batches - 1)
        codes = schema.matrix(batch["answer_codes"], batch.num_rows - 1)
        assert codes.dtype == np.uint16
        assert codes.shape[1] == 7
        # What was read is a view of the mapped file: next to nothing was allocated.
        assert pa.total_allocated_bytes() - before < 50_000
    assert reader.num_record_batches > 1 or batch.num_rows <= 2


def test_sha256sum_can_verify_it(folder):
    import subprocess

    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0
