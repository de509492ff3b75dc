"""What updates the weights: settings of each kind, and how its optimizer is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cfamc_zoo.training.lars import Lars

# cosine: from lr to 0 once over all updates. cosine-per-batch: the paper's public code,
# whose period counts batches while it steps at every replay, so that with 3 replays the
# rate falls to 0, rises to lr and falls again. cosine-per-epoch: from lr to 0 in each epoch
# (warm restarts, arXiv 1608.03983), so that a run can be lengthened once it is over.
Schedule = Literal["cosine", "cosine-per-batch", "cosine-per-epoch"]


class Optimizer:
    """Settings of an optimizer.

    Attributes:
        kind: its name in a recipe.
        lr: the highest learning rate.
        warmup: the part of all updates over which the rate rises to lr, before the cosine.
        state: what torch's optimizer keeps of each parameter, which a checkpoint holds.
    """

    kind: str
    lr: float
    warmup: float
    schedule: Schedule
    state: tuple[str, ...] = ("momentum_buffer",)

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""
        raise NotImplementedError


@dataclass(frozen=True)
class LarsOptimizer(Optimizer):
    """SGD with Nesterov momentum under LARS."""

    lr: float = 0.3  # learning rate at its highest
    momentum: float = 0.9  # Nesterov's
    weight_decay: float = 1e-4  # not of biases and BatchNorm
    eta: float = 0.005  # LARS' trust coefficient
    schedule: Schedule = "cosine"  # cosine, cosine-per-batch or cosine-per-epoch
    warmup: float = 0.0  # part of all updates over which the rate rises
    kind: Literal["lars"] = "lars"  # lars, sgd or adamw

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return Lars(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            eta=self.eta,
        )


@dataclass(frozen=True)
class SgdOptimizer(Optimizer):
    """SGD with momentum, all parameters decayed."""

    lr: float = 0.5  # learning rate at its highest
    momentum: float = 0.9  # of the gradients
    weight_decay: float = 5e-4  # of all parameters
    schedule: Schedule = "cosine"  # cosine, cosine-per-batch or cosine-per-epoch
    warmup: float = 0.0  # part of all updates over which the rate rises
    kind: Literal["sgd"] = "sgd"  # lars, sgd or adamw

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            fused=True,
        )


@dataclass(frozen=True)
class AdamWOptimizer(Optimizer):
    """AdamW with torch's own moments."""

    lr: float = 1e-3  # learning rate at its highest
    weight_decay: float = 1e-4  # decoupled, of all parameters
    schedule: Schedule = "cosine"  # cosine, cosine-per-batch or cosine-per-epoch
    warmup: float = 0.0  # part of all updates over which the rate rises
    kind: Literal["adamw"] = "adamw"  # lars, sgd or adamw

    state = ("exp_avg", "exp_avg_sq", "step")

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)


AnyOptimizer = LarsOptimizer | SgdOptimizer | AdamWOptimizer
UNNAMED = LarsOptimizer.kind  # of recipes and checkpoints of the time when there was no other
