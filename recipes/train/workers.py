"""The workers of a run: one process alone, or several that torch.distributed joined."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from anytalk.model import MiniOmni, StreamLoss
from anytalk.synth.errors import AnyTalkError, SetupError
from anytalk.synth.wording import quantity


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, and which of them this one is: its rank, from 0, of the world size."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @classmethod
    def current(cls, device: torch.device | None = None) -> "ProcessGroup":
        """Read the group that torch.distributed has joined, if it has; a GPU where there is one."""
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not dist.is_initialized():
            return cls(device)
        return cls(device, dist.get_rank(), dist.get_world_size())

    @classmethod
    @contextmanager
    def of_torchrun(cls) -> Iterator["ProcessGroup"]:
        """Join the processes that `torchrun` started, where it started this one; alone otherwise.

        Raises:
            SetupError: there are GPUs, but not one for each process of this machine.
        """
        if dist.is_initialized() or not ("RANK" in os.environ and "WORLD_SIZE" in os.environ):
            yield cls.current()
            return
        device, gpus = torch.device("cpu"), torch.cuda.device_count()
        if gpus:
            here = int(os.environ["LOCAL_WORLD_SIZE"])
            if gpus < here:
                raise SetupError(f"torchrun started {here} processes on a machine with {quantity(gpus, 'GPU')}")
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if gpus else "gloo")
        try:
            yield cls.current(device)
        finally:
            dist.destroy_process_group()

    def main_first(self, action: Callable[[], Any]) -> None:
        """Have the first worker do something while the others wait; if it fails, all of them raise its error."""
        failed: list[AnyTalkError | None] = [None]
        if self.is_main:
            try:
                action()
            except AnyTalkError as error:
                failed = [error]
        if self.world_size > 1:
            dist.broadcast_object_list(failed, device=self.device)
        if failed[0] is not None:
            raise failed[0]

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files: rank 0."""
        return self.rank == 0

    def sum(self, x: Tensor) -> Tensor:
        """Add up a small tensor over all workers; every one of them gets the sum."""
        if self.world_size == 1:
            return x
        x = x.to(self.device)
        dist.all_reduce(x)
        return x

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up gradients over all workers.

        By hand, after the last batch of a step: batches differ in which parts they use, and stages in what they train,
        which DistributedDataParallel has to be told and rebuilt for. The price is that nothing overlaps the backward
        pass.
        """
        if self.world_size > 1:
            pending = [dist.all_reduce(x.grad, async_op=True) for x in parameters if x.grad is not None]
            for work in pending:
                assert work is not None
                work.wait()

    def wait(self) -> None:
        """Wait for all workers."""
        if self.world_size > 1:
            dist.barrier()


def shard(loss: StreamLoss, group: ProcessGroup, bfloat16: bool) -> None:
    """Shard parameters, gradients and optimiser state with FSDP2: each block for itself, the rest together."""
    mesh = init_device_mesh(group.device.type, (group.world_size,))
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bfloat16 else MixedPrecisionPolicy()
    for block in blocks(loss.model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(loss, mesh=mesh, mp_policy=policy)


def blocks(model: MiniOmni) -> list[nn.Module]:
    """Give the decoder blocks of the backbone and of the TTS adapter."""
    stacks = [model.backbone.base_model, model.tts_adapter]
    return [block for stack in stacks if stack is not None for block in _layers(stack)]


def _layers(stack: nn.Module) -> nn.ModuleList:
    for name in ("layers", "h", "blocks"):
        if isinstance(found := getattr(stack, name, None), nn.ModuleList):
            return found
    raise ValueError(f"{type(stack).__name__} keeps its blocks under no known name")


def gathered(tensors: Mapping[str, Tensor], group: ProcessGroup) -> dict[str, Tensor]:
    """Give whole tensors on the CPU to the first worker, and nothing to the others; all workers must ask.

    Sharded tensors are gathered one by one, so that no other worker ever holds more than one of them.
    """
    found = {}
    for name, x in tensors.items():
        x = x.detach()
        if isinstance(x, DTensor):
            x = x.full_tensor()
        if group.is_main:
            found[name] = x.cpu()
    return found
