"""What training minimizes, over the projections of V views of B images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cfamc_zoo.training.recipe import Emp, NtXent, Objective


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


def objective_loss(z: Tensor, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """The recipe's objective and its parts by name.

    Args:
        z: (V, B, D) float32, unit rows.
    """
    match objective:
        case Emp():
            parts = {"invariance": invariance(z), "coding_rate": coding_rate(z, objective.eps)}
            loss = (
                objective.invariance * parts["invariance"]
                - objective.coding_rate * parts["coding_rate"]
            )
            return loss, {name: part.detach() for name, part in parts.items()}
        case NtXent():
            return nt_xent(z, objective.temperature), {}
