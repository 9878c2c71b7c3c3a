"""The workers of a run: one process alone, or several that torch.distributed joined."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from anytalk.model import MiniOmni, StreamLoss
from anytalk.synth.errors import AnyTalkError, SetupError
from anytalk.synth.wording import quantity

GPU_BACKENDS = "cpu:gloo,cuda:nccl"
"""Of torch.distributed: counts that lie on the host are added up there, and no GPU is waited for."""

BUCKET_BYTES = 25 << 20
"""Of gradients that are sent together; as in DistributedDataParallel."""


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
        dist.init_process_group(GPU_BACKENDS if gpus else "gloo")
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
        """Add up a small tensor over all workers, where it lies; every one of them gets the sum."""
        if self.world_size == 1:
            return x
        if x.device.type not in dist.get_backend_config():
            x = x.to(self.device)
        dist.all_reduce(x)
        return x

    def wait(self) -> None:
        """Wait for all workers."""
        if self.world_size > 1:
            dist.barrier()


class GradientSums:
    """Adds gradients up over all workers, in buckets, while the backward pass still computes others.

    DistributedDataParallel does so as well, but has to be told which parameters a batch uses, and batches differ in
    that. Here a bucket whose gradients do not all come in a step's last backward pass is sent after it. All workers
    send the buckets in one order, and a gradient that one of them lacks all of them lack: see `StreamLoss`.

    Args:
        parameters: what learns, in the order of the model, so that the last gradients come first.
        group: the workers.
        bucket_bytes: a bucket is full with so many; a larger parameter has one of its own.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], group: ProcessGroup, bucket_bytes: int = BUCKET_BYTES
    ) -> None:
        self._buckets: list[list[nn.Parameter]] = []
        self._bucket_of: dict[int, int] = {}
        self._missing: list[int] = []
        self._sent: list[_Sent] = []
        self._armed = False
        if group.world_size == 1:
            return
        room = 0
        for x in reversed(parameters):
            if x.nbytes > room:
                self._buckets.append([])
                room = max(bucket_bytes, x.nbytes)
            room -= x.nbytes
            self._buckets[-1].append(x)
            self._bucket_of[id(x)] = len(self._buckets) - 1
            x.register_post_accumulate_grad_hook(self._came)

    def begin(self) -> None:
        """Send from now on what comes: the next backward pass is the last of its step."""
        self._missing = [len(bucket) for bucket in self._buckets]
        self._armed = True

    def _came(self, x: Tensor) -> None:
        """Take note of a gradient."""
        if self._armed:
            self._missing[self._bucket_of[id(x)]] -= 1
            while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
                self._send()

    def _send(self) -> None:
        """Send the next bucket."""
        gradients = [x.grad for x in self._buckets[len(self._sent)] if x.grad is not None]
        if not gradients:
            self._sent.append(_Sent(None, torch.zeros(0), []))
            return
        joined = torch.cat([grad.flatten() for grad in gradients])
        self._sent.append(_Sent(dist.all_reduce(joined, async_op=True), joined, gradients))

    def finish(self) -> None:
        """Send what is left, and put the sums in the gradients' place."""
        self._armed = False
        while len(self._sent) < len(self._buckets):
            self._send()
        for work, joined, gradients in self._sent:
            if work is not None:
                work.wait()
                sums = joined.split([grad.numel() for grad in gradients])
                for grad, total in zip(gradients, sums, strict=True):
                    grad.copy_(total.view_as(grad))
        self._sent.clear()


class _Sent(NamedTuple):
    work: dist.Work | None
    joined: Tensor
    gradients: list[Tensor]


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
