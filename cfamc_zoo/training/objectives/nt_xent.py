"""SimCLR: the two views of an image find each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cfamc_zoo.training.objectives.objective import Objective, Scored


@dataclass(frozen=True)
class NtXent(Objective):
    """SimCLR: the two views of an image find each other among all others.

    The first view stays clean, as in the paper's public code.
    """

    kind: Literal["nt-xent"] = "nt-xent"  # the objective
    temperature: float = 0.07  # of the softmax over similarities

    method = "SimCLR"
    views = 2
    clean_views = 1

    def loss(self, z: Tensor) -> Scored:
        """(2, B, D) float32, unit rows, to the loss; it has no parts."""
        return nt_xent(z, self.temperature), {}


def nt_xent(z: Tensor, temperature: float) -> Tensor:
    """SimCLR's normalized temperature-scaled cross entropy over two views.

    Args:
        z: (2, B, D) float32, unit rows.

    Source: SimCLR (arXiv 2002.05709), eq. 1.
    """
    views, b, _ = z.shape
    if views != 2:
        raise ValueError(f"NT-Xent takes 2 views, got {views}")
    flat = z.flatten(0, 1)
    similarity = flat @ flat.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    positive = torch.arange(2 * b, device=z.device).roll(b)
    return F.cross_entropy(similarity, positive)
