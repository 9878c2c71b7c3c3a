"""A step of training: what a device decides by itself, figures that are read late, sums over the workers."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.training import TORCHRUN, a_recipe, a_stage, metrics, without_times
from torch import nn

from anytalk.recipes.train import loop
from anytalk.recipes.train.logs import LateNumbers
from anytalk.recipes.train.loop import checkpoint
from anytalk.recipes.train.parts import clipped_step
from anytalk.recipes.train.run import train
from anytalk.recipes.train.speed import compiles
from anytalk.recipes.train.stage import StageTrainer, TrainingStopped

pytestmark = pytest.mark.usefixtures("one_thread")


def given(fused):
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    return layer, torch.optim.AdamW(layer.parameters(), 1e-2, fused=fused)


def state(layer, optimiser):
    moments = [value.clone() for x in layer.parameters() for value in optimiser.state[x].values()]
    return [*(x.detach().clone() for x in layer.parameters()), *moments]


def gradients(layer, scale=1.0):
    layer.zero_grad()
    (layer(torch.arange(6.0)) * scale).square().sum().backward()
    return torch.tensor(1.0)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_a_clipped_step_is_that_of_clipping_and_stepping(fused, scale):
    (ours, our_optimiser), (plain, plain_optimiser) = given(fused), given(fused)
    for _ in range(3):
        norm = clipped_step(our_optimiser, list(ours.parameters()), 1.0, gradients(ours, scale))
        gradients(plain, scale)
        expected = nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        plain_optimiser.step()
        torch.testing.assert_close(norm, expected)
    for mine, wanted in zip(state(ours, our_optimiser), state(plain, plain_optimiser), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_no_number_changes_nothing(fused, what):
    layer, optimiser = given(fused)
    clipped_step(optimiser, list(layer.parameters()), 1.0, gradients(layer))
    before = state(layer, optimiser)
    loss = gradients(layer)
    if what == "gradient":
        layer.weight.grad[1, 2] = torch.inf
    norm = clipped_step(optimiser, list(layer.parameters()), 1.0, loss * torch.nan if what == "loss" else loss)
    assert norm.isfinite() == (what == "loss")
    assert all(now.equal(then) for now, then in zip(state(layer, optimiser), before, strict=True))
    clipped_step(optimiser, list(layer.parameters()), 1.0, gradients(layer))
    assert all(value.isfinite().all() for value in state(layer, optimiser))


def test_numbers_are_there_at_once_on_a_cpu():
    assert LateNumbers(torch.tensor([1.5, torch.inf])).read() == [1.5, torch.inf]


class Late(StageTrainer):
    """Reads a step's figures when the next one was begun, as on a GPU."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.reads_late = True


def poison(row):
    if row["id"] == "dataset-train-3":
        row["question_features"][1, 2] = np.nan


@pytest.mark.slow
def test_reading_late_changes_no_figure_and_no_weight(write_dataset, tmp_path, monkeypatch):
    stages = [a_stage(name=name, tasks={"A1T1": 1}, steps=5) for name in ("first", "second")]
    recipe = a_recipe(write_dataset(change=poison), stages=stages, checkpoint={"every": 3})
    summary = train(recipe, tmp_path / "at-once")
    assert summary["skipped_here"] > 0
    monkeypatch.setattr(loop, "StageTrainer", Late)
    assert train(recipe, tmp_path / "late")["skipped_here"] == summary["skipped_here"]
    assert without_times(metrics(tmp_path / "late")) == without_times(metrics(tmp_path / "at-once"))
    files = [checkpoint.latest(tmp_path / name) / "model.safetensors" for name in ("late", "at-once")]
    assert files[0].read_bytes() == files[1].read_bytes()
    reports = [sorted(path.name for path in (tmp_path / name).glob("skipped-*")) for name in ("late", "at-once")]
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_a_run_that_reads_late_stops_before_a_later_checkpoint(write_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "StageTrainer", Late)
    stages = [a_stage(tasks={"A1T1": 1}, steps=50)]
    recipe = a_recipe(write_dataset(change=poison), stages=stages, optim={"skip": 0}, checkpoint={"every": 1})
    with pytest.raises(TrainingStopped, match=r"the loss is nan at step (\d+)") as caught:
        train(recipe, tmp_path / "run")
    step = int(str(caught.value).partition("at step ")[2].partition(",")[0])
    assert checkpoint.read_state(checkpoint.latest(tmp_path / "run")).step == step - 1


# Sums over the workers

SUMMING = """
import sys, torch
import torch.distributed as dist
from torch import nn
from anytalk.recipes.train.workers import GradientSums, ProcessGroup
torch.set_num_threads(1)
rank, meeting = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)), nn.Linear(8, 1))
unused = nn.Linear(3, 3)
parameters = [*model.parameters(), *unused.parameters()]
batches = torch.randn(2, 3, 5, 8)

def passes(which, last):
    for index, batch in enumerate(which):
        if index == len(which) - 1:
            last()
        model(batch).sum().backward()

for bucket_bytes in (1, 300, 1 << 20):
    passes(batches.flatten(0, 1), lambda: None)
    expected = [x.grad for x in model.parameters()]
    model.zero_grad()
    sums = GradientSums(parameters, ProcessGroup.current(torch.device("cpu")), bucket_bytes)
    before_last = []
    hook = model[0].register_forward_hook(lambda *_: before_last.append(len(sums._sent)))
    passes(batches[rank], sums.begin)
    assert before_last == [0, 0, 0]
    if bucket_bytes == 1:  # those of the model, in the backward pass; the unused ones, which came first, are empty
        assert len(sums._buckets) == len(parameters)
    hook.remove()
    sums.finish()
    for x, wanted in zip(model.parameters(), expected):
        torch.testing.assert_close(x.grad, wanted)
    assert unused.weight.grad is None
    model.zero_grad()
    for x in parameters:
        x._post_accumulate_grad_hooks.clear()

sums = GradientSums([*model.parameters()], ProcessGroup.current(torch.device("cpu")), 300)
passes(batches[rank], sums.begin)
assert len(sums._sent) == len(sums._buckets) > 2  # all of them while the pass ran
sums.finish()
assert not sums._sent
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_gradients_are_added_up_in_buckets_while_the_backward_pass_runs(tmp_path):
    command = [sys.executable, "-c", SUMMING]
    processes = [subprocess.Popen([*command, str(rank), tmp_path / "meeting"]) for rank in range(2)]
    assert [process.wait() for process in processes] == [0, 0]


# On a GPU

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_blocks_are_compiled_where_that_is_wanted_and_never_by_themselves_on_a_cpu():
    cpu = torch.device("cpu")
    assert [compiles(wanted, cpu) for wanted in (None, True, False)] == [False, True, False]
    assert not compiles(False, torch.device("cuda"))


@pytest.mark.gpu
@NEEDS_GPU
def test_training_on_a_gpu_learns_and_goes_on(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset(splits={"train": 4}), stages=[a_stage(steps=30)], optim={"precision": "bfloat16"})
    summary = train(recipe, tmp_path / "run")
    lines = [line for line in metrics(tmp_path / "run") if "loss" in line]
    assert [line["step"] for line in lines] == [*range(1, 31)]
    assert summary["loss"] < lines[0]["loss"]
    assert all(line["seconds"] > 0 for line in lines)
    assert compiles(recipe.optim.compile, torch.device("cuda"))


@pytest.mark.gpu
@NEEDS_GPU
def test_a_gpu_skips_what_is_no_number(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset(change=poison), stages=[a_stage(tasks={"A1T1": 1}, steps=12)])
    assert 0 < train(recipe, tmp_path / "run")["skipped_here"] < 12


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="takes two GPUs")
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_gpus_equal_one(write_dataset, tmp_path, sharding):
    recipe = a_recipe(write_dataset(), stages=[a_stage(steps=3)], optim={"sharding": sharding})
    alone = train(recipe, tmp_path / "alone")
    (tmp_path / "mine.yaml").write_text(recipe.model_dump_json())
    command = ["-m", "anytalk.recipes", "train", tmp_path / "mine.yaml", "--out", tmp_path / "joined"]
    assert subprocess.run([*TORCHRUN, *command]).returncode == 0
    joined = [line["loss"] for line in metrics(tmp_path / "joined") if "loss" in line]
    assert joined[-1] == pytest.approx(alone["loss"], rel=1e-3)
