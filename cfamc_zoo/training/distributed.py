"""Several processes as one: each holds a part of every batch, all see the whole batch's loss.

Started by torchrun, which sets the environment that `join` reads. Crops are drawn for the whole
batch on every process, so the number of processes changes neither data nor randomness.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from cfamc_zoo.zoo.network.encoder import Encoder


def rank() -> int:
    """Number of this process; 0 writes what is written."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def join(device: torch.device) -> Iterator[torch.device]:
    """Joins the other processes of a torchrun; gives this one's device.

    Without torchrun there is one process and `device` is what it was.
    """
    if "RANK" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process; all get the same answer."""
    if world_size() == 1:
        return flag
    shared = torch.tensor(int(flag), device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return bool(shared.item())


def gather(x: Tensor) -> Tensor:
    """(V, b, ...) of each process to (V, B, ...), the same on all; differentiable."""
    return _Gather.apply(x) if world_size() > 1 else x


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Every process computes the same loss from the whole batch, so its own part of the
        # gradient is here already; DistributedDataParallel will divide by the number of
        # processes what it sums over them.
        (gradient,) = gradients
        return gradient.chunk(world_size(), 1)[rank()] * world_size()


class _Sum(torch.autograd.Function):
    """Sum over processes, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x = gradients[0].clone()
        dist.all_reduce(x)
        return x


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the crops of all processes, for CPUs: torch's own is for GPUs only."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        if not self.training:
            return super().forward(input)
        x = input.float()
        axes = [0, *range(2, x.ndim)]
        count = x.numel() // x.shape[1] * world_size()
        mean = _Sum.apply(x.sum(axes)) / count
        shape = (1, -1, *([1] * (x.ndim - 2)))
        x = x - mean.view(shape)
        variance = _Sum.apply(x.square().sum(axes)) / count
        with torch.no_grad():
            momentum = self.momentum or 0.1
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


def synchronize(encoder: Encoder, device: torch.device) -> Encoder:
    """The encoder with its BatchNorms over all processes; unchanged where there is one."""
    if world_size() == 1:
        return encoder
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(encoder)
    for module in list(encoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
                synced.load_state_dict(child.state_dict())
                setattr(module, name, synced)
    return encoder
