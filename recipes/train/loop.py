"""Train a Mini-Omni: prepare the run's folder, then stage after stage, step after step.

    RUN/recipe.json        the resolved recipe; another recipe is refused
    RUN/tokenizer/         the run's tokenizer
    RUN/metrics.jsonl      a line for each step, and for each evaluation
    RUN/checkpoints/       see `anytalk.recipes.train.checkpoint`; RUN/best is a model to talk to
    RUN/summary.json       what it came to

A run is a function of its recipe and its rows. Going on after a crash is not a special case: every stage starts by
reading the newest checkpoint where there is one, and everything random follows from (seed, step).

Shapes: B = batch, K = streams, T = positions.
"""

import gc
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.recipes.data import Rows, encoder, load_tokenizer
from anytalk.synth.memory import keep_freed_memory

from . import checkpoint
from .checkpoint import TrainingState
from .folder import SUMMARY, TOKENIZER, Totals, read_summary
from .logs import Log, MetricsLog, note
from .order import with_steps
from .recipe import TrainingRecipe
from .speed import matmul_rate, with_precision
from .stage import Begun, StageTrainer
from .start import codebook_size
from .workers import ProcessGroup


def run_worker(
    recipe: TrainingRecipe, run: Path, group: ProcessGroup, progress: Reporter, logs: Sequence[Log] = ()
) -> dict[str, Any]:
    """Do one worker's part of a prepared run; all workers call it.

    Args:
        recipe: what to do.
        run: folder that `claim_folder` has seen; with several machines, on a file system that they share.
        group: the workers.
        progress: who is told; only the first worker's is used.
        logs: who else gets the metrics.
    """
    # What is trained on
    keep_freed_memory()  # A step makes the same large arrays again: a quarter of its time on a CPU went into new pages.
    progress = progress if group.is_main else Quiet()
    progress.phase("reading what is trained on")
    tokenizer = load_tokenizer(run / TOKENIZER)
    folders, codes = recipe.data.folders, codebook_size(recipe.model)
    rows = Rows(folders, recipe.data.train, encoder(tokenizer), codes, texts=recipe.data.sources)
    held_out = Rows(folders, recipe.data.validation, encoder(tokenizer), codes) if recipe.data.validation else None
    recipe = with_precision(with_steps(recipe, rows, tokenizer), group.device)
    progress.say(f"precision {recipe.optim.precision}")

    # Where it stands
    at = TrainingState()
    if folder := checkpoint.latest(run):
        at = checkpoint.read_state(folder)
    log = MetricsLog(run, at.step, logs, recipe.model_dump(mode="json")) if group.is_main else None
    progress.phase("measuring this device")
    peak = matmul_rate(group.device, torch.bfloat16 if recipe.optim.precision == "bfloat16" else torch.float32)

    # Stage after stage, step after step
    total = sum(stage.steps for stage in recipe.stages)
    progress.start("training", total, at.step)
    started = time.monotonic()
    totals = Totals(at.step)
    try:
        while at.step < total:
            if at.stage_step == recipe.stages[at.stage].steps:
                at = TrainingState(step=at.step, stage=at.stage + 1)
            with StageTrainer(recipe, run, at, group, rows, held_out, tokenizer) as current:
                for line in current.notes():
                    progress.say(line)
                begun: deque[Begun] = deque()
                while at.stage_step < current.stage.steps:
                    begun.append(current.begin(at))
                    at = replace(at, step=at.step + 1, stage_step=at.stage_step + 1, loader=current.loader.state_dict())
                    saves = at.step % recipe.checkpoint.every == 0 or at.stage_step == current.stage.steps
                    while len(begun) > (current.reads_late and not saves):
                        metrics = current.finish(begun.popleft(), peak)
                        if log:
                            log.write(metrics)
                        totals.add(metrics)
                        progress.advance(1, note(metrics))
                    if saves:
                        at, evaluation = current.evaluate_and_save(at)
                        totals.validation_loss = evaluation.get("validation_loss", totals.validation_loss)
                        if log and evaluation:
                            log.write(evaluation)
                            progress.say(f"step {at.step}: validation loss {evaluation['validation_loss']:.3f}")
            # The next stage reads its model anew; this one's goes first, in its cycles too.
            del current
            gc.collect()
    finally:
        progress.stop()
        if log:
            log.close()
    if totals.steps == 0 and (run / SUMMARY).is_file():
        return read_summary(run)
    summary = totals.summary(run, at, time.monotonic() - started)
    if group.is_main:
        (run / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
    group.wait()
    return summary
