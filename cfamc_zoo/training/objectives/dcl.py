"""Decoupled contrastive learning: NT-Xent whose positive pair is not in the denominator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cfamc_zoo.training.objectives.objective import Objective, Scored


@dataclass(frozen=True)
class Dcl(Objective):
    """Decoupled contrastive learning, of two views or, over all pairs of them, of more.

    Source: arXiv 2110.06848; its SimCLR temperature of CIFAR is 0.07.
    """

    kind: Literal["dcl"] = "dcl"  # the objective
    temperature: float = 0.07  # that similarities are divided by
    clean_views: int = 1  # 1 as in SimCLR's family, 0 where all views are perturbed as in EMP's

    method = "DCL"

    def loss(self, z: Tensor) -> Scored:
        """(V, B, D) float32, unit rows, to the loss and its parts."""
        return decoupled(cosines(z), z, self.temperature)


def cosines(z: Tensor) -> Tensor:
    """(V, B, D) unit rows to (V, V, B): of each image, between its views."""
    return torch.einsum("kbd,lbd->klb", z, z)


def decoupled(attraction: Tensor, z: Tensor, temperature: float) -> Scored:
    """Minus the attraction of an image's views, plus the log of what other images repel.

    An anchor in view k is repelled by all views k and l of the other images; the mean is over
    images and ordered pairs of views k, l. Of two views it is the paper's loss.

    Args:
        attraction: (V, V, B), of views k and l of each image, not yet over the temperature.
        z: (V, B, D) float32, unit rows.

    Source: arXiv 2110.06848, eq. 6.
    """
    views, b, _ = z.shape
    similarity = torch.einsum("kid,ljd->klij", z, z) / temperature
    itself = torch.eye(b, dtype=torch.bool, device=z.device)
    repulsion = similarity.masked_fill(itself, float("-inf")).logsumexp(-1)  # (V, V, B)
    own = repulsion.diagonal().T[:, None]  # (V, 1, B): from its own view
    both = torch.logaddexp(own.expand_as(repulsion), repulsion)
    pairs = ~torch.eye(views, dtype=torch.bool, device=z.device)
    attracted, repelled = (attraction / temperature)[pairs].mean(), both[pairs].mean()
    parts = {"attraction": attracted.detach(), "repulsion": repelled.detach()}
    return repelled - attracted, parts
