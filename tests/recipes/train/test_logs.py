"""What watches a run gets its figures: read back with the watchers' own readers, where they are installed."""

import importlib.util
import json

import pytest
from support.training import a_recipe, a_stage, metrics

from anytalk.recipes.train.logs import MetricsLog
from anytalk.recipes.train.run import train
from anytalk.synth.errors import MissingExtra, SetupError

pytestmark = pytest.mark.usefixtures("one_thread")

LINES = [{"step": n + 1, "stage": "all", "loss": 2.0 - n, "samples": "a1"} for n in range(3)]


def needs(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


def scalars(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.mark.parametrize("log", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_named_before_anything_is_written(write_dataset, tmp_path, log, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, log, None)
    with pytest.raises(MissingExtra, match=rf'pip install "anytalk\[{log}\]"'):
        train(a_recipe(write_dataset()), tmp_path / "run", logs=[log])
    assert not (tmp_path / "run").exists()


def test_a_watcher_that_is_none_is_named(write_dataset, tmp_path):
    with pytest.raises(SetupError, match="--log paper: there are tensorboard and wandb"):
        train(a_recipe(write_dataset()), tmp_path / "run", logs=["paper"])


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_every_number_and_drops_steps_that_come_again(tmp_path):
    first = MetricsLog(tmp_path, 0, ["tensorboard"])
    for line in LINES:
        first.write(line)
    first.close()
    assert scalars(tmp_path) == {"loss": [(1, 2.0), (2, 1.0), (3, 0.0)]}
    again = MetricsLog(tmp_path, 1, ["tensorboard"])
    again.write(LINES[1] | {"loss": 9.0})
    again.close()
    assert scalars(tmp_path) == {"loss": [(1, 2.0), (2, 9.0)]}
    assert [line["loss"] for line in metrics(tmp_path)] == [2.0, 9.0]


@needs("tensorboard")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_is_drawn_in_tensorboard(write_dataset, tmp_path):
    run = tmp_path / "run"
    train(a_recipe(write_dataset(), stages=[a_stage(steps=2)]), run, logs=["tensorboard"])
    drawn = scalars(run)
    lines = metrics(run)
    assert [value for _, value in drawn["loss"]] == pytest.approx([line["loss"] for line in lines if "loss" in line])
    [evaluation] = [line for line in lines if "validation_loss" in line]
    assert drawn["validation_loss"] == [(2, pytest.approx(evaluation["validation_loss"]))]


def leveldb_records(content, at, block=32_768):
    """Records of LevelDB's log format, in which wandb writes behind a header of seven bytes; it ships no reader."""
    pieces, place = [], 0
    while place + 7 <= len(content):
        left = block - (at + place) % block
        if left < 7:
            place += left
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        pieces.append(content[place + 7 : place + 7 + size])
        place += 7 + size
        if kind in (1, 4):  # whole, or the last of several pieces
            yield b"".join(pieces)
            pieces = []


@needs("wandb")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_offline_a_run_is_kept_for_weights_and_biases(write_dataset, tmp_path, monkeypatch):
    import wandb
    from wandb.proto import wandb_internal_pb2

    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
        (tmp_path / name.lower()).mkdir()
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    folder = write_dataset()
    train(a_recipe(folder, stages=[a_stage(steps=2)]), run, logs=["wandb"])
    train(a_recipe(folder, stages=[a_stage(steps=4)]), run, logs=["wandb"], allow_change=True)
    wandb.teardown()  # its service writes what it has
    own, kept = json.loads((run / "wandb.json").read_text())["id"], []
    for path in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
        for data in leveldb_records(path.read_bytes()[7:], at=7):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                assert (record.run.run_id, record.run.project) == (own, "anytalk")
            if record.WhichOneof("record_type") == "history":
                items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                kept.append((items["_step"], items["loss"], items.get("validation_loss")))
    lines = metrics(run)
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    validation = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    assert kept == [(step, pytest.approx(losses[step]), validation.get(step)) for step in (1, 2, 3, 4)]
