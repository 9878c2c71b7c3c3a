"""Small training recipes and what their runs wrote."""

import json
import subprocess
import sys

from anytalk.recipes.train.folder import claim_folder
from anytalk.recipes.train.recipe import TrainingRecipe

SHAPE = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

MODEL = {
    "shape": SHAPE | {"tie_word_embeddings": True},
    "vocabulary": 320,
    "adapter_hidden": 16,
    "tts_adapter_layers": 1,
}


def a_stage(**changes):
    return {"name": "all", "train": "all", "tasks": {"A1A2": 1, "T1T2": 1}, "steps": 4, "learning_rate": 2e-3} | changes


def a_recipe(*datasets, stages=None, model=None, **sections):
    tree = {
        "name": "tiny",
        "data": {"datasets": [str(folder) for folder in datasets]},
        "model": model or MODEL,
        "stages": stages or [a_stage()],
        "loader": {"positions": 300, "max_positions": 200, "batches_per_step": 2},
        "checkpoint": {"every": 2, "keep": 2},
    }
    return TrainingRecipe.model_validate(tree | sections)


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_times(lines):
    """What must be the same in two runs; seconds may differ."""
    timed = {"seconds", "loading_s", "positions_per_s", "share_of_peak"}
    return [{key: value for key, value in line.items() if key not in timed} for line in lines]


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

WORKER = """
import sys, torch
import torch.distributed as dist
from pathlib import Path
from anytalk.pipelines.progress import Quiet
from anytalk.recipes.train.workers import ProcessGroup
from anytalk.recipes.train.folder import claim_folder
from anytalk.recipes.train.loop import run_worker
from anytalk.recipes.train.recipe import TrainingRecipe
from anytalk.synth.errors import SetupError
torch.set_num_threads(1)
rank, meeting = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
def refuse():
    raise SetupError("in use")
try:
    ProcessGroup.current().main_first(refuse)
except SetupError as error:
    assert str(error) == "in use"  # on both ranks
else:
    raise AssertionError(f"rank {rank} goes on")
for recipe, run in zip(sys.argv[3::2], sys.argv[4::2]):
    run_worker(TrainingRecipe.model_validate_json(Path(recipe).read_text()), Path(run), ProcessGroup.current(), Quiet())
dist.destroy_process_group()
"""


def two_processes(tmp_path, recipes):
    """Run prepared recipes, by their run's folder, in two processes that gloo joins."""
    pairs = []
    for run, recipe in recipes.items():
        claim_folder(recipe, run)
        (tmp_path / f"{run.name}.json").write_text(recipe.model_dump_json())
        pairs += [tmp_path / f"{run.name}.json", run]
    command = [sys.executable, "-W", "error::UserWarning", "-c", WORKER]
    processes = [subprocess.Popen([*command, str(rank), tmp_path / "meeting", *pairs]) for rank in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
