"""Decoupled contrastive learning that weighs pairs: the farther apart, the more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cfamc_zoo.training.objectives.dcl import cosines, decoupled
from cfamc_zoo.training.objectives.objective import Objective, Scored


@dataclass(frozen=True)
class Dclw(Objective):
    """Decoupled contrastive learning with the negative von Mises-Fisher weights of pairs.

    Source: arXiv 2110.06848, section 3.3.
    """

    kind: Literal["dclw"] = "dclw"  # the objective
    temperature: float = 0.07  # that similarities are divided by
    sigma: float = 0.5  # of the weights
    clean_views: int = 1  # 1 as in SimCLR's family, 0 where all views are perturbed as in EMP's

    method = "DCLW"

    def loss(self, z: Tensor) -> Scored:
        """(V, B, D) float32, unit rows, to the loss and its parts."""
        cosine = cosines(z)
        return decoupled(weights(cosine, self.sigma) * cosine, z, self.temperature)


def weights(cosine: Tensor, sigma: float) -> Tensor:
    """2 - exp(cos / sigma) over its mean over images: (..., B) with mean 1 over B."""
    return 2 - (cosine / sigma).softmax(-1) * cosine.shape[-1]
