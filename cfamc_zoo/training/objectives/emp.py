"""EMP-SSL: views agree with their mean, and images spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cfamc_zoo.training.objectives.objective import Objective, Scored


@dataclass(frozen=True)
class Emp(Objective):
    """EMP-SSL: views agree with their mean, and images spread (total coding rate).

    Source: EMP-SSL (arXiv 2304.03977).
    """

    kind: Literal["emp"] = "emp"  # the objective
    invariance: float = 200.0  # weight of the views' agreement
    coding_rate: float = 1.0  # weight of the images' spread
    eps: float = 0.2  # distortion of the coding rate

    method = "EMP-SSL"

    def loss(self, z: Tensor) -> Scored:
        """(V, B, D) float32, unit rows, to the loss and its parts."""
        agreement, spread = invariance(z), coding_rate(z, self.eps)
        parts = {"invariance": agreement.detach(), "coding_rate": spread.detach()}
        return self.invariance * agreement - self.coding_rate * spread, parts


def invariance(z: Tensor) -> Tensor:
    """Minus the mean cosine between each view and its image's mean over views.

    Args:
        z: (V, B, D) float32.

    Source: EMP-SSL (arXiv 2304.03977), eq. 2.
    """
    return -F.cosine_similarity(z, z.mean(0, keepdim=True), dim=2).mean()


def coding_rate(z: Tensor, eps: float) -> Tensor:
    """Total coding rate R(Z) = 1/2 logdet(I + d / (B eps) Z^T Z), averaged over views.

    Args:
        z: (V, B, D) float32, unit rows.
        eps: distortion; the paper's 0.2 (it stands where the rate's eps^2 does).

    The determinant is the same for Z^T Z and Z Z^T, so the smaller of the two is factored:
    B x B where B < D. Cholesky, since I + positive semidefinite is positive definite.

    Source: EMP-SSL (arXiv 2304.03977), eq. 3.
    """
    _, b, d = z.shape
    gram = z @ z.mT if b < d else z.mT @ z
    gram = gram * (d / (b * eps)) + torch.eye(gram.shape[-1], device=z.device, dtype=z.dtype)
    factor, _ = torch.linalg.cholesky_ex(gram)  # cholesky() would wait for the device
    # 1/2 logdet(L L^T) = sum log diag L
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1).mean()
