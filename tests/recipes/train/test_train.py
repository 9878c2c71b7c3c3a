"""The trainer: what learns and what does not, going on after a kill, many workers, and what stops it."""

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.training import MODEL, SHAPE, TORCHRUN, a_recipe, a_stage, metrics, two_processes, without_times
from torch.distributed.utils import _to_kwargs  # what FSDP2 moves inputs with
from typer.testing import CliRunner

from anytalk.model.layout import Task
from anytalk.model.loss import OnHost
from anytalk.model.network import MiniOmni
from anytalk.recipes.cli.main import app
from anytalk.recipes.data.rows import Rows, read_encoding
from anytalk.recipes.data.tokenizer import encoder, load_tokenizer
from anytalk.recipes.train.folder import claim_folder, locked
from anytalk.recipes.train.loop import checkpoint
from anytalk.recipes.train.recipe import load_training_recipe
from anytalk.recipes.train.run import train
from anytalk.recipes.train.stage import StageTrainer, TrainingStopped
from anytalk.recipes.train.start import start_model
from anytalk.recipes.train.workers import ProcessGroup
from anytalk.synth.errors import SetupError
from anytalk.synth.seed import derive_seed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

ADAPTERS = ["whisper_adapter", "tts_adapter", "audio_head", "audio_embedding", "new_text_rows"]


def losses(run):
    return without_times(metrics(run))


def weights(run):
    return load_file(checkpoint.latest(run) / "model.safetensors")


def initial(recipe, run):
    shards = sorted(Path(recipe.data.folders[0], "shards").glob("train-*"))
    tokenizer = load_tokenizer(run / "tokenizer")
    return start_model(recipe.model, read_encoding(shards), tokenizer, derive_seed(recipe.seed, "weights"))


# What learns


@pytest.mark.parametrize("tied", [True, False])
def test_frozen_parts_stay_as_they_are_and_new_rows_move(write_dataset, tmp_path, tied):
    stage = a_stage(train=ADAPTERS, tasks={"A1T1": 1, "T1A1": 1}, steps=3)
    model = MODEL | {"shape": SHAPE | {"tie_word_embeddings": tied}}
    recipe = a_recipe(write_dataset(), stages=[stage], model=model, optim={"weight_decay": 0.5})
    train(recipe, tmp_path / "run")
    before, after = initial(recipe, tmp_path / "run"), weights(tmp_path / "run")
    old_rows = before.layout.text_size
    used = [before.layout.eot, before.layout.pad_t, before.layout.input_t, before.layout.answer_t, before.layout.asr]
    tables = ["backbone.model.embed_tokens.weight", *([] if tied else ["backbone.lm_head.weight"])]
    learns = ("whisper_adapter.", "tts_adapter.", "audio_head.", "audio_embedding.")
    for name, value in before.state_dict().items():
        if name not in after:
            assert tied
        elif name in tables:
            assert value[:old_rows].equal(after[name][:old_rows]), name
            moved = (value != after[name]).any(1).nonzero().flatten().tolist()
            assert set(moved) >= ({before.layout.eot} if name.startswith("backbone.lm_head") else set(used))
        else:
            assert value.equal(after[name]) != name.startswith(learns), name


def test_a_stage_may_have_a_weight_decay_of_its_own(write_dataset, tmp_path):
    folder = write_dataset()
    trained = {}
    for name, stage, optim in (("own", 0.5, 0.1), ("all", None, 0.5), ("neither", None, 0.1)):
        recipe = a_recipe(folder, stages=[a_stage(steps=2, weight_decay=stage)], optim={"weight_decay": optim})
        train(recipe, tmp_path / name)
        trained[name] = weights(tmp_path / name)
    matrix = "backbone.model.layers.0.mlp.up_proj.weight"
    assert trained["own"][matrix].equal(trained["all"][matrix])
    assert trained["own"][matrix].norm() < trained["neither"][matrix].norm()


def test_adapters_can_rest_while_the_backbone_learns(write_dataset, tmp_path):
    stage = a_stage(train=["backbone", "text_embedding", "text_head"], tasks={"A1T1": 1, "T1T2": 1}, steps=2)
    recipe = a_recipe(write_dataset(), stages=[stage])
    train(recipe, tmp_path / "run")
    before, after = initial(recipe, tmp_path / "run").state_dict(), weights(tmp_path / "run")
    rests = ("whisper_adapter.", "tts_adapter.", "audio_")
    for name, value in after.items():
        assert value.equal(before[name]) == name.startswith(rests), name


def test_the_loss_of_a_tiny_model_falls(write_dataset, tmp_path):
    stages = [a_stage(tasks=dict.fromkeys(Task, 1.0), steps=30, learning_rate=1e-2, warmup_steps=3)]
    recipe = a_recipe(write_dataset(splits={"train": 4}), stages=stages, checkpoint={"every": 30})
    summary = train(recipe, tmp_path / "run")
    lines = metrics(tmp_path / "run")
    assert lines[0]["loss"] > 7.5
    assert summary["loss"] < 5.0
    assert summary["loss"] == lines[-1]["loss"]
    assert {f"audio_{layer}" for layer in range(7)} | {"text", "positions_per_s", "share_of_peak"} <= lines[0].keys()


@pytest.mark.slow
def test_what_saves_memory_changes_no_loss(write_dataset, tmp_path):
    folder = write_dataset()
    ways = [
        {},
        {"activation_checkpointing": True, "loss_chunk": 7},
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "residual": "bfloat16"},
    ]
    runs = []
    for number, way in enumerate(ways):
        train(a_recipe(folder, stages=[a_stage(steps=3)], optim=way), tmp_path / str(number))
        runs.append([line["loss"] for line in metrics(tmp_path / str(number)) if "loss" in line])
    assert runs[1] == pytest.approx(runs[0], abs=1e-5)
    assert runs[2] == pytest.approx(runs[0], abs=0.05)
    assert runs[2] != runs[0]
    assert runs[3] == pytest.approx(runs[0], abs=0.05)
    assert runs[3] != runs[2]


def test_the_residual_stream_is_a_choice_where_the_arithmetic_is_bfloat16(write_dataset):
    folder = write_dataset()
    before = a_recipe(folder).identity()
    assert "residual" not in before["optim"]  # so that runs from before there was a choice go on
    chosen = a_recipe(folder, optim={"precision": "bfloat16", "residual": "bfloat16"})
    assert chosen.identity()["optim"]["residual"] == "bfloat16"
    with pytest.raises(ValueError, match="residual bfloat16 needs precision bfloat16 or auto"):
        a_recipe(folder, optim={"residual": "bfloat16"})


# Checkpoints


def test_checkpoints_hold_all_that_going_on_and_talking_need(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset(), stages=[a_stage(steps=7)], checkpoint={"every": 2, "keep": 2})
    summary = train(recipe, tmp_path / "run")
    run = tmp_path / "run"
    best = f"step-{summary['best_step']:08d}"
    kept = {folder.name for folder in checkpoint.checkpoints(run)}
    assert kept == {"step-00000006", "step-00000007", best}
    assert (run / "best").resolve().name == best
    model = MiniOmni.from_pretrained(run / "best")
    assert model.config.codec == {"name": "fake", "revision": "1", "sha256": "0" * 64}
    assert model.config.feature == {"model": "fake", "compute_type": "float32", "width": 6}
    tokenizer = load_tokenizer(run / "best")
    assert tokenizer.decode(tokenizer.encode("a new old pond").ids) == "a new old pond"
    assert tokenizer.get_vocab_size() == model.layout.text_size
    evaluations = [line["validation_loss"] for line in metrics(run) if "validation_loss" in line]
    assert summary["best_loss"] == min(evaluations)


KILLED = """
import sys, torch
from pathlib import Path
from anytalk.recipes.train.recipe import TrainingRecipe
from anytalk.recipes.train.run import train
torch.set_num_threads(1)
train(TrainingRecipe.model_validate_json(Path(sys.argv[1]).read_text()), sys.argv[2])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(write_dataset, tmp_path):
    stages = [
        a_stage(name="align", train=ADAPTERS, tasks={"A1T1": 1, "T1A1": 2}, steps=4, warmup_steps=2),
        a_stage(tasks=dict.fromkeys(Task, 1), steps=18, minimum=1e-4, warmup_steps=3),
    ]
    recipe = a_recipe(write_dataset(), stages=stages, checkpoint={"every": 3, "keep": 2, "validation_batches": 2})
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "recipe.json", killed])
    while not (killed / "metrics.jsonl").is_file() or len((killed / "metrics.jsonl").read_text().splitlines()) < 11:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (killed / "checkpoints" / ".step-00009999.partial").mkdir()
    assert 4 < checkpoint.read_state(checkpoint.latest(killed)).step < 22
    for run in (killed, whole):
        train(recipe, run)
    assert losses(killed) == losses(whole)
    ours, theirs = weights(killed), weights(whole)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert not (killed / "checkpoints" / ".step-00009999.partial").exists()


def test_a_finished_run_is_left_as_it_is(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset())
    first = train(recipe, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert train(recipe, tmp_path / "run") == first
    (tmp_path / "run" / "summary.json").unlink()  # as when it was killed just before the end
    assert train(recipe, tmp_path / "run")["best"] == first["best"]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_another_recipe_or_other_rows_are_refused(write_dataset, tmp_path):
    folder, run = write_dataset(), tmp_path / "run"
    train(a_recipe(folder, stages=[a_stage(steps=3)]), run)
    saved_elsewhere = a_recipe(folder, stages=[a_stage(steps=3)], checkpoint={"every": 1}, optim={"loss_chunk": 50})
    train(saved_elsewhere, run)
    with pytest.raises(SetupError, match=r"another recipe: stages.0.learning_rate differ; name another folder"):
        train(a_recipe(folder, stages=[a_stage(steps=3, learning_rate=1e-3)]), run)
    for last in (run / "checkpoints").glob("step-00000003"):
        last.rename(tmp_path / "aside")
    with pytest.raises(SetupError, match="the datasets have changed since the checkpoint"):
        train(a_recipe(write_dataset("other", seed=9), stages=[a_stage(steps=3)]), run)
    with pytest.raises(SetupError, match="is not empty and holds no training run"):
        train(a_recipe(folder), folder)
    with pytest.raises(SetupError, match=r"3 workers cannot share loader.batches_per_step 2 equally"):
        train(a_recipe(folder), tmp_path / "three", workers=3)


# Starting points


@pytest.mark.slow
def test_a_run_starts_from_the_checkpoint_of_another(write_dataset, tmp_path):
    folder = write_dataset()
    train(a_recipe(folder), tmp_path / "first")
    start = {"checkpoint": str(tmp_path / "first" / "best")}
    slow = a_stage(steps=1, learning_rate=1e-9)
    train(a_recipe(folder, model=start, stages=[slow]), tmp_path / "second")
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-7, rtol=0)
    other = write_dataset("other", fingerprints={"codec": {"name": "snac"}, "features": {"width": 6}})
    with pytest.raises(SetupError, match=r"made with another codec than .*: name 'snac' instead of 'fake'"):
        train(a_recipe(other, model=start), tmp_path / "third")


def test_a_pretrained_backbone_brings_its_tokenizer_and_weights(write_dataset, tmp_path):
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    from anytalk.recipes.data.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["a bird can do every fine game"] * 3, 280)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / "lm")
    backbone = Qwen2ForCausalLM(Qwen2Config(**SHAPE, vocab_size=290, tie_word_embeddings=True))
    backbone.save_pretrained(tmp_path / "lm")
    model = {"backbone": str(tmp_path / "lm"), "adapter_hidden": 16, "untie_text_head": True}
    stage = a_stage(train=["whisper_adapter"], tasks={"A1T1": 1}, steps=1)
    train(a_recipe(write_dataset(), model=model, stages=[stage]), tmp_path / "run")
    made = MiniOmni.from_pretrained(tmp_path / "run" / "best")
    assert made.layout.text_size == 290
    assert made.backbone.model.embed_tokens.weight[:290].equal(backbone.model.embed_tokens.weight)
    assert made.backbone.lm_head.weight[:290].equal(backbone.lm_head.weight)
    assert made.backbone.lm_head.weight is not made.backbone.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"model": {"shape": SHAPE, "backbone": "x"}}, "exactly one of checkpoint, backbone and shape"),
        ({"model": {"shape": SHAPE | {"hiden_size": 9}}}, "keys that qwen2 does not know: hiden_size"),
        ({"optim": {"stream_weights": [1.0, 2.0]}}, "optim.stream_weights has 2 weights; the model has 8 streams"),
        ({"model": {"shape": SHAPE}, "stages": [a_stage(train=["tts_adapter"])]}, "trains tts_adapter"),
        ({"stages": [a_stage(warmup_steps=4)]}, "warmup_steps 4 leaves nothing of 4 steps"),
        ({"loader": {"positions": 100}}, "positions 100 must be at least max_positions 2048"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(write_dataset, tmp_path, sections, line):
    with pytest.raises((SetupError, ValueError), match=line):
        train(a_recipe(write_dataset(), **sections), tmp_path / "run")


@pytest.mark.parametrize("name", ["mini-omni", "talker", "frozen"])
def test_shipped_recipes_are_valid(name):
    recipe = load_training_recipe(name)
    assert recipe.name == name
    assert {task for stage in recipe.stages for task in stage.tasks} >= {Task.A1A2, Task.A1T1}


# What stops a run


def poison(row):
    if row["id"] == "dataset-train-3":
        row["question_features"][1, 2] = np.nan


def test_a_step_whose_loss_is_no_number_is_skipped_and_counted(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset(change=poison), stages=[a_stage(tasks={"A1T1": 1}, steps=12)])
    summary = train(recipe, tmp_path / "run")
    reports = sorted((tmp_path / "run").glob("skipped-*.json"))
    steps = [line for line in metrics(tmp_path / "run") if "samples" in line]
    skipped = [line["step"] for line in steps if line.get("skipped")]
    assert 0 < len(skipped) < len(steps) == 12
    assert summary["skipped_here"] == len(skipped) == len(reports)
    assert [json.loads(path.read_text())["step"] for path in reports] == skipped
    for path in reports:
        assert "A1T1 dataset-train-3" in [name for batch in json.loads(path.read_text())["batches"] for name in batch]
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_too_many_skipped_steps_in_a_row_stop_the_run(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset(change=poison), stages=[a_stage(tasks={"A1T1": 1}, steps=50)], optim={"skip": 0})
    with pytest.raises(TrainingStopped, match=r"the loss is nan at step .*its rows are in") as caught:
        train(recipe, tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_run_goes_on_with_another_schedule_where_that_is_wanted(write_dataset, tmp_path):
    folder, run = write_dataset(), tmp_path / "run"
    train(a_recipe(folder, stages=[a_stage(steps=3)]), run)
    longer = a_recipe(folder, stages=[a_stage(steps=5, learning_rate=1e-4, minimum=0.0)])
    with pytest.raises(SetupError, match=r"stages\.0\.learning_rate, .*stages\.0\.steps differ.*--allow-change"):
        train(longer, run)
    assert train(longer, run, allow_change=True)["step"] == 5
    assert metrics(run)[-2]["learning_rate"] <= 1e-4
    [change] = json.loads((run / "recipe.json").read_text())["changes"]
    assert (change["step"], change["changed"]["stages.0.steps"]) == (3, [3, 5])
    added = a_recipe(folder, stages=[*longer.model_dump()["stages"], a_stage(name="more", steps=2)])
    assert train(added, run, allow_change=True)["step"] == 7
    with pytest.raises(SetupError, match=r"has done the stage that stages\.0\..* would change"):
        train(a_recipe(folder, stages=[a_stage(steps=9), a_stage(name="more", steps=2)]), run, allow_change=True)
    with pytest.raises(SetupError, match=r"seed differ; name another folder$"):
        train(a_recipe(folder, stages=added.model_dump()["stages"], seed=7), run, allow_change=True)


def test_a_folder_in_which_somebody_trains_is_refused(write_dataset, tmp_path):
    run = tmp_path / "run"
    with locked(run), pytest.raises(SetupError, match=rf"run is in use by process {os.getpid()} on "):
        train(a_recipe(write_dataset(), stages=[a_stage(steps=1)]), run)
    assert train(a_recipe(write_dataset("again"), stages=[a_stage(steps=1)]), run)["step"] == 1


def test_the_next_stage_begins_when_the_last_ones_model_is_gone(write_dataset, tmp_path, monkeypatch):
    models, alive = [], []

    def started(*arguments, **named):
        alive.append(sum(model() is not None for model in models))
        model = start_model(*arguments, **named)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr("anytalk.recipes.train.stage.start_model", started)
    options = {"activation_checkpointing": True}
    train(a_recipe(write_dataset(), stages=[a_stage(name=n, steps=1) for n in "abc"], optim=options), tmp_path / "run")
    assert alive == [0, 0, 0]


def test_labels_stay_on_the_host():
    labels = torch.zeros(1, 8, 4, dtype=torch.int64)
    [(kept, moved)], _ = _to_kwargs((OnHost(labels), labels), {}, torch.device("meta"), False)
    assert kept.tensor.device.type == "cpu"
    assert moved.device.type == "meta"


def stage_training(recipe, run):
    claim_folder(recipe, run)
    tokenizer = load_tokenizer(run / "tokenizer")
    rows = Rows(recipe.data.folders, "train", encoder(tokenizer), 4096)
    start = checkpoint.TrainingState()
    alone = ProcessGroup(torch.device("cpu"))
    return StageTrainer(recipe, run, start, alone, rows, None, tokenizer), start


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_running_out_of_memory_names_the_knobs(write_dataset, tmp_path, error):
    training, start = stage_training(a_recipe(write_dataset()), tmp_path / "run")

    def run_out(*_):
        raise error

    training.loss.register_forward_pre_hook(run_out)
    with training, pytest.raises(TrainingStopped, match=r"lower loader.positions \(now 300\), or set optim.loss_chunk"):
        training.step(start, 1e9)


def test_another_error_stays_what_it_is(write_dataset, tmp_path):
    training, start = stage_training(a_recipe(write_dataset()), tmp_path / "run")

    def fail(*_):
        raise RuntimeError("shapes differ")

    training.loss.register_forward_pre_hook(fail)
    with training, pytest.raises(RuntimeError, match="shapes differ"):
        training.step(start, 1e9)


# Many workers


@pytest.mark.slow
def test_two_processes_equal_one(write_dataset, tmp_path):
    folder = write_dataset()
    stages = [
        a_stage(name="align", train=ADAPTERS, tasks={"A1T1": 1, "T1A1": 1}, steps=3),
        a_stage(tasks=dict.fromkeys(Task, 1), steps=4),
    ]
    alone = a_recipe(folder, stages=stages)
    train(alone, tmp_path / "alone")
    sharded = a_recipe(folder, stages=stages, optim={"sharding": "fsdp"})
    two_processes(tmp_path, {tmp_path / "copies": alone, tmp_path / "shards": sharded})
    expected = losses(tmp_path / "alone")
    for run in (tmp_path / "copies", tmp_path / "shards"):
        for line, wanted in zip(losses(run), expected, strict=True):
            assert line["step"] == wanted["step"]
            assert line.get("samples") == wanted.get("samples")
            assert line.get("loss", line.get("validation_loss")) == pytest.approx(
                wanted.get("loss", wanted.get("validation_loss")), rel=1e-5
            )
        for name, value in weights(run).items():
            # Adam turns rounding of tiny gradients into steps: seven of them may move a weight by 1.4e-2.
            torch.testing.assert_close(value, weights(tmp_path / "alone")[name], atol=2e-4, rtol=1e-3)


@pytest.mark.usefixtures("on_ray")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # its own defaults, at import
def test_ray_joins_the_workers(write_dataset, tmp_path, monkeypatch):
    folder = write_dataset()
    monkeypatch.chdir(tmp_path)  # where the workers are not
    recipe = a_recipe(folder.relative_to(tmp_path), stages=[a_stage(steps=3)])
    alone = train(recipe, "alone")
    joined = train(recipe, "joined", workers=2)
    assert joined["step"] == 3
    assert joined["loss"] == pytest.approx(alone["loss"], rel=1e-5)


@pytest.mark.slow
def test_torchrun_starts_the_workers(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset(), stages=[a_stage(steps=3)])
    alone = train(recipe, tmp_path / "alone")
    (tmp_path / "mine.yaml").write_text(recipe.model_dump_json())
    command = [
        *TORCHRUN,
        "-m",
        "anytalk.recipes",
        "train",
        tmp_path / "mine.yaml",
        "--out",
        tmp_path / "joined",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    joined = json.loads(done.stdout)
    assert joined["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert [line["step"] for line in metrics(tmp_path / "joined")] == [
        line["step"] for line in metrics(tmp_path / "alone")
    ]
    for name, value in weights(tmp_path / "joined").items():
        torch.testing.assert_close(value, weights(tmp_path / "alone")[name], atol=2e-4, rtol=1e-3)


# The command line


def test_the_command_trains_and_reports(write_dataset, tmp_path):
    folder = write_dataset()
    path = tmp_path / "mine.yaml"
    path.write_text(a_recipe(stages=[a_stage(steps=2)]).model_dump_json())
    run = tmp_path / "run"
    command = ["train", str(path), "--data", str(folder), "--out", str(run), "--json", "--set", "checkpoint.every=1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["step"], summary["best"]) == (2, str(run / "best"))
    assert json.loads((run / "recipe.json").read_text())["checkpoint"]["every"] == 1
