"""VICReg: views agree, every value varies over images, and no two values vary together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cfamc_zoo.training.objectives.objective import Objective, Scored


@dataclass(frozen=True)
class VicReg(Objective):
    """Variance, invariance and covariance of the projection before it is normalized.

    Of two views it is the paper's loss; of more the invariance is the mean over pairs, and the
    other terms twice their mean over views.

    Source: arXiv 2105.04906, eq. 6 and its algorithm 1, where the invariance is the mean over
    the values too (eq. 5 sums over them). The public code halves the variance term: its settings
    are variance = 12.5 here.
    """

    kind: Literal["vicreg"] = "vicreg"  # the objective
    invariance: float = 25.0  # weight
    variance: float = 25.0  # weight
    covariance: float = 1.0  # weight
    clean_views: int = 1  # 1 as in SimCLR's family, 0 where all views are perturbed as in EMP's

    method = "VICReg"
    features = ("embedding",)

    def loss(self, z: Tensor) -> Scored:
        """(V, B, D) float32 to the loss and its parts."""
        agreement, spread, correlation = invariance(z), variance(z), covariance(z)
        parts = {"invariance": agreement, "variance": spread, "covariance": correlation}
        loss = self.invariance * agreement + self.variance * spread + self.covariance * correlation
        return loss, {name: part.detach() for name, part in parts.items()}


def invariance(z: Tensor) -> Tensor:
    """Mean squared difference of two views of an image, over images, values and pairs of views."""
    # The mean over pairs of squared differences is twice the unbiased variance.
    return 2 * z.var(0).mean()


def variance(z: Tensor, floor: float = 1.0, eps: float = 1e-4) -> Tensor:
    """How much the standard deviation over images lacks to `floor`; twice the mean over views."""
    return 2 * (floor - (z.var(1) + eps).sqrt()).relu().mean()


def covariance(z: Tensor) -> Tensor:
    """Squared covariances of different values, summed, over D; twice the mean over views."""
    views, b, d = z.shape
    centred = z - z.mean(1, keepdim=True)
    matrix = centred.mT @ centred / (b - 1)  # (V, D, D)
    different = matrix.square().sum() - matrix.diagonal(dim1=1, dim2=2).square().sum()
    return 2 * different / (d * views)
