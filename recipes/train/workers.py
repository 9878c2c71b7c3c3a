"""The workers of a run: one process alone, or several that torch.distributed joined."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from anytalk.model import MiniOmni, StreamLoss


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


def whole(x: Tensor) -> Tensor:
    """Give a tensor on the CPU, gathered if it is sharded; then all workers must ask."""
    x = x.detach()
    return (x.full_tensor() if isinstance(x, DTensor) else x).cpu()
