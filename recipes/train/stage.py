"""One stage of training: model, optimiser and loader, a step, an evaluation."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint as recompute

from anytalk.model import OnHost, StreamLoss, Task, adapter_positions, label_counts, weighted_mean
from anytalk.recipes.data import Batch, Loader, Rows, candidates, pools_of
from anytalk.synth.errors import AnyTalkError, SetupError
from anytalk.synth.seed import derive_seed
from anytalk.synth.wording import quantity

from . import checkpoint
from .checkpoint import TrainingState
from .logs import LateNumbers, by_stream
from .lora import add_lora
from .order import shares_of, stage_loader
from .parts import choose, clipped_step, drop_codes, learning_rate, make_optimiser, replace_codes
from .recipe import Model, TrainingRecipe
from .speed import StepCost, compiles, residual_dtype
from .start import start_model
from .workers import GradientSums, ProcessGroup, blocks, shard


class TrainingStopped(AnyTalkError):
    """Training cannot go on: the loss is no number, or memory ran out. The last checkpoint is whole."""


@dataclass(frozen=True)
class Begun:
    """A step that a device was given, and what can be told of it before it is done."""

    at: TrainingState
    place: Mapping[str, Any]
    """Of the loader, before."""
    samples: str
    rate: float
    counts: list[float]
    """Labels of each stream."""
    sizes: Mapping[str, float]
    numbers: LateNumbers
    """Loss, gradient's norm, and the summed loss of each stream."""
    started: float
    loaded: float
    given: float


class StageTrainer:
    """One stage: the model with its trainable parts, their optimiser, and the loader.

    Built anew for each stage, from the newest checkpoint where there is one, so that beginning a stage and going on
    with one are the same thing, and a sharded model is sharded with the parts frozen that this stage freezes.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        run: Path,
        at: TrainingState,
        group: ProcessGroup,
        rows: Rows,
        held_out: Rows | None,
        tokenizer: Tokenizer,
    ) -> None:
        self.recipe, self.run, self.group = recipe, run, group
        self.stage = recipe.stages[at.stage]
        folder = checkpoint.latest(run)
        start = Model(checkpoint=str(folder)) if folder else recipe.model
        # A run goes on with LoRA apart from the weights beside it, which its own checkpoints therefore keep so.
        seed = derive_seed(recipe.seed, "weights")
        self.model = start_model(start, rows.encoding, tokenizer, seed, merged=folder is None)
        add_lora(self.model, recipe.lora, derive_seed(recipe.seed, "lora"), folder)
        self.model.config = replace(self.model.config, context_turns=recipe.data.context_turns)
        self.model.to(group.device).train()
        self.text = any(task.writes for task in self.stage.tasks)
        self.audio = any(task.speaks for task in self.stage.tasks)
        self.loader = self._loader(rows, recipe.loader.prefetch)
        self.validation = self._validation_loader(held_out)

        self.loss = StreamLoss(self.model, recipe.optim.loss_chunk)
        self.trainable = choose(self.model, self.stage)
        self.cost = StepCost(self.model, audio=self.audio)
        self.sharded = recipe.optim.sharding == "fsdp" and group.world_size > 1
        self._apply_options()
        self.weights_K = self._stream_weights()
        self.skipped = 0  # steps in a row
        self.reads_late = group.device.type != "cpu"
        """Whether a step's figures are best asked for when the device has been given the next one."""
        self._ended = 0.0
        self.optimiser = make_optimiser(self.model, self.trainable, recipe.optim, self.stage)
        self.sums = None if self.sharded else GradientSums([*self.trainable.named.values()], group)
        if folder and at.stage_step:
            checkpoint.load_optimiser(folder, self.optimiser, self.trainable.named)
            assert at.loader is not None
            self.loader.load_state_dict(at.loader)

    def __enter__(self) -> "StageTrainer":
        return self

    def __exit__(self, *_: object) -> None:
        self.loader.close()
        if self.validation is not None:
            self.validation.close()

    # Set-up

    def _loader(self, rows: Rows, prefetch: int, tasks: Mapping[Task, float] | None = None) -> Loader:
        return stage_loader(
            self.recipe,
            self.stage,
            rows,
            self.model.layout,
            self.model.config.stack,
            rank=self.group.rank,
            world_size=self.group.world_size,
            prefetch=prefetch,
            tasks=tasks,
            pinned=self.group.device.type == "cuda",
        )

    def _validation_loader(self, rows: Rows | None) -> Loader | None:
        """Load held-out samples of the stage's tasks, as far as the rows suit them."""
        if rows is None:
            return None
        layout, stack, longest = self.model.layout, self.model.config.stack, self.recipe.loader.max_positions
        found = {task: candidates(task, rows, layout, stack, longest) for task in self.stage.tasks}
        drawn = {pool.task for pool in pools_of(found, self.stage.tasks, rows.part_R, shares_of(self.recipe))}
        tasks = {task: weight for task, weight in self.stage.tasks.items() if task in drawn}
        return self._loader(rows, 0, tasks) if tasks else None

    def _stream_weights(self) -> Tensor:
        weights, streams = self.recipe.optim.stream_weights, self.model.layout.streams
        if weights is not None and len(weights) != streams:
            raise SetupError(f"optim.stream_weights has {len(weights)} weights; the model has {streams} streams")
        return torch.tensor(weights or [1.0] * streams, device=self.group.device)

    def _apply_options(self) -> None:
        optim = self.recipe.optim
        self.model.residual_dtype = residual_dtype(optim, self.group.device)
        if optim.activation_checkpointing:
            # By hand: transformers renames its switch between versions, and wants token embeddings in each stack.
            for block in blocks(self.model):
                block.forward = partial(recompute, block.forward, use_reentrant=False)
        if compiles(optim.compile, self.group.device):
            for block in blocks(self.model):
                block.compile(dynamic=True)
        if self.sharded:
            shard(self.loss, self.group, optim.precision == "bfloat16")
            self.trainable = choose(self.model, self.stage)  # sharding replaces the parameters

    def notes(self) -> Iterator[str]:
        """Say what a person should know about the stage."""
        learned = sum(x.numel() for x in self.trainable.named.values())
        tensors = quantity(len(self.trainable.named), "tensor")
        yield f"stage {self.stage.name}: {learned / 1e6:.2f} M parameters in {tensors}"
        for task, found in self.loader.found.items():
            skipped = f"{found.unsuitable} without a needed column, {found.too_long} too long"
            yield f"  {task.value}: {quantity(len(found.rows), 'row')}; {skipped}"

    # Steps

    def step(self, at: TrainingState, peak: float) -> dict[str, Any]:
        """Do one update of the weights; see `begin` and `finish`."""
        return self.finish(self.begin(at), peak)

    def begin(self, at: TrainingState) -> Begun:
        """Give the device one update of the weights; on a CPU it is done then.

        Args:
            at: where the run is.
        """
        started = time.perf_counter()
        torch.manual_seed(derive_seed(self.recipe.seed, "step", at.step, self.group.rank) % 2**63)
        place = self.loader.state_dict()
        step = self.loader.take()
        loaded = time.perf_counter()
        counts, sizes = self._sizes(step.batches)
        counts_K = torch.tensor(counts, device=self.group.device)
        rate = learning_rate(self.stage, at.stage_step)
        for settings in self.optimiser.param_groups:
            settings["lr"] = rate
        with self._memory_explained(step.batches):
            sums_K = self.group.sum(self._gradients(step.batches, counts_K))
            loss = weighted_mean(sums_K, counts_K, self.weights_K)
            norm = clipped_step(self.optimiser, self.trainable.named.values(), self.recipe.optim.clip, loss)
            self.optimiser.zero_grad(set_to_none=True)
        numbers = LateNumbers(torch.cat([torch.stack([loss, norm]), sums_K]))
        given = time.perf_counter()
        return Begun(at, place, step.samples, rate, counts, sizes, numbers, started, loaded, given)

    def _gradients(self, batches: list[Batch], counts_K: Tensor) -> Tensor:
        """Compute the gradients of a step, added up over all workers; give this worker's summed loss of each stream."""
        sums_K = torch.zeros_like(self.weights_K)
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            batch_K = self._sums(batch)
            objective = weighted_mean(batch_K, counts_K, self.weights_K)
            # Gradients of all batches are added up over the workers with the last one's.
            if self.sums is None:
                cast(FSDPModule, self.loss).set_requires_gradient_sync(is_last)
                objective = objective * self.group.world_size  # FSDP averages; the loss is a mean over all already.
            elif is_last:
                self.sums.begin()
            objective.backward()
            sums_K += batch_K.detach()
        if self.sums is not None:
            self.sums.finish()
        self.trainable.keep_new_rows()
        return sums_K

    def finish(self, begun: Begun, peak: float) -> dict[str, Any]:
        """Wait for a step, and tell of it; steps are finished in the order in which they were begun.

        Args:
            begun: the step.
            peak: FLOP/s that one worker's device can do.

        Returns:
            What metrics.jsonl says about it.

        Raises:
            TrainingStopped: too many steps in a row were skipped.
        """
        loss, norm, *sums = begun.numbers.read()
        ended = time.perf_counter() if self.reads_late else begun.given
        seconds = ended - max(begun.started, self._ended)
        self._ended = ended
        # All workers see the same sums, so all of them skip the same steps.
        finite = math.isfinite(loss) and math.isfinite(norm)
        self.skipped = 0 if finite else self.skipped + 1
        if not finite:
            self._report(begun, loss, norm, sums)
        sizes = begun.sizes
        flops = self.cost.flops(sizes["positions"], sizes["squares"], sizes["features"], sizes["text"], sizes["audio"])
        return {
            "step": begun.at.step + 1,
            "stage": self.stage.name,
            # JSON knows no NaN; the report of a skipped step has the figures.
            **({"loss": loss, **by_stream(sums, begun.counts), "gradient_norm": norm} if finite else {"skipped": 1}),
            "learning_rate": begun.rate,
            "samples": begun.samples,
            "positions": int(sizes["positions"]),
            "padding": round(1.0 - sizes["positions"] / sizes["padded"], 4),
            "seconds": round(seconds, 4),
            "loading_s": round(begun.loaded - begun.started, 4),
            "positions_per_s": round(sizes["positions"] / seconds, 1),
            "share_of_peak": round(flops / seconds / (peak * self.group.world_size), 4),
        }

    def _sums(self, batch: Batch) -> Tensor:
        """Summed cross-entropy of each stream over one batch."""
        device = self.group.device
        features = [[(start, x.to(device, non_blocking=True)) for start, x in entry] for entry in batch.features]
        streams_BKT, layout = batch.streams, self.model.layout
        if self.model.training and (share := self.recipe.optim.code_noise):
            streams_BKT = replace_codes(streams_BKT, layout, share)
        if self.model.training and (share := self.recipe.optim.code_dropout):
            streams_BKT = drop_codes(streams_BKT, layout, share)
        bfloat16 = self.recipe.optim.precision == "bfloat16"
        # Fused attention of short rows takes four times as long in bfloat16 as in float32 on a CPU; products do not.
        attention = sdpa_kernel(SDPBackend.MATH) if bfloat16 and device.type == "cpu" else nullcontext()
        with attention, torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            sums_K: Tensor = self.loss(
                streams_BKT.to(device, non_blocking=True),
                OnHost(batch.labels),
                features,
                text=self.text,
                audio=self.audio,
            )
        return sums_K

    def _sizes(self, batches: list[Batch]) -> tuple[list[float], dict[str, float]]:
        """Count each stream's labels in the whole step, and what else is counted over all workers."""
        stack, layers = self.model.config.stack, self.model.layout.layers
        counts_K = torch.stack([label_counts(batch.labels) for batch in batches]).sum(0)
        features = sum(adapter_positions(len(x), stack) for b in batches for entry in b.features for _, x in entry)
        own = {
            "positions": sum(batch.positions for batch in batches),
            "padded": sum(batch.padded_positions for batch in batches),
            "squares": sum(length**2 for batch in batches for length in batch.lengths),
            "features": features,
        }
        summed = self.group.sum(torch.tensor([*counts_K.tolist(), *own.values()], dtype=torch.float64))
        counts, others = summed.tolist()[: layers + 1], summed.tolist()[layers + 1 :]
        return counts, dict(zip(own, others, strict=True)) | {"text": counts[layers], "audio": counts[0]}

    @contextmanager
    def _memory_explained(self, batches: list[Batch]) -> Iterator[None]:
        """Turn running out of memory into a line that names the knobs."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
            ran_out = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if not ran_out:
                raise
            B, _, T = max((batch.streams.shape for batch in batches), key=lambda shape: shape[0] * shape[2])
            raise TrainingStopped(
                f"out of memory with a batch of {B} samples and {T} positions; lower loader.positions (now "
                f"{self.recipe.loader.positions}), or set optim.loss_chunk 1024 or optim.activation_checkpointing true"
            ) from error

    def _report(self, begun: Begun, loss: float, norm: float, sums: list[float]) -> None:
        """Save what a skipped step held, and stop after too many in a row."""
        number = begun.at.step + 1
        path = self.run / f"skipped-{number:08d}.json"
        if self.group.is_main:
            report = {
                "step": number,
                "stage": self.stage.name,
                "loss": str(loss),
                "gradient_norm": str(norm),
                "losses": [
                    str(total / count if count else math.nan) for total, count in zip(sums, begun.counts, strict=True)
                ],
                "batches": self.loader.row_ids(begun.place),
            }
            path.write_text(json.dumps(report, indent=2) + "\n")
        if self.skipped <= self.recipe.optim.skip:
            return
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
        in_a_row = f", after {quantity(self.skipped - 1, 'skipped step')}" if self.skipped > 1 else ""
        raise TrainingStopped(
            f"{what} at step {number}, stage {self.stage.name}{in_a_row}; its rows are in {path}, "
            "no weight was changed; a lower learning_rate may help (--set ... --allow-change), or dropping those rows"
        )

    # Evaluation and checkpoints

    @torch.no_grad()
    def evaluate(self) -> dict[str, Any]:
        """Measure the loss on held-out samples, always the same ones; nothing where there are none."""
        if self.validation is None:
            return {}
        batches = self.validation.plan(0)[: self.recipe.checkpoint.validation_batches]
        self.model.eval()
        sums_K, counts_K = torch.zeros_like(self.weights_K), torch.zeros_like(self.weights_K)
        for start in range(0, len(batches), self.group.world_size):
            index = start + self.group.rank
            # All workers run as often, since a sharded model gathers its blocks together; the surplus counts nothing.
            batch = self.validation.batch(batches[min(index, len(batches) - 1)])
            batch_K = self._sums(batch)
            if index < len(batches):
                sums_K += batch_K
                counts_K += label_counts(batch.labels).to(counts_K)
        self.model.train()
        sums_K, counts_K = self.group.sum(sums_K), self.group.sum(counts_K)
        losses = by_stream(sums_K.tolist(), counts_K.tolist())
        total = float(weighted_mean(sums_K, counts_K, self.weights_K))
        return {"validation_loss": total, **{f"validation_{key}": value for key, value in losses.items()}}

    def evaluate_and_save(self, at: TrainingState) -> tuple[TrainingState, dict[str, Any]]:
        """Evaluate, remember whether this is the best of the stage, and write a checkpoint."""
        figures = self.evaluate()
        loss = figures.get("validation_loss")
        if loss is not None and (at.best_loss is None or loss < at.best_loss):
            at = replace(at, best_step=at.step, best_loss=loss)
        checkpoint.save(self.run, at, self.model, self.optimiser, self.trainable.named, self.group, self.recipe)
        return at, {"step": at.step, "stage": self.stage.name, **figures} if figures else {}
