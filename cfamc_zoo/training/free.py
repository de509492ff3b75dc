"""Free adversarial training: the perturbation's gradient comes with the weights' own.

Source: Shafahi et al., Adversarial Training for Free! (arXiv 1904.12843), algorithm 1, as
CF-AMC-SSL (arXiv 2501.03507) applies it to crops.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cfamc_zoo.zoo.threat import Linf


def replay(
    views: Tensor,
    delta: Tensor,
    threat: Linf,
    *,
    step: float,
    replays: int,
    update: Callable[[Tensor], None],
) -> Tensor:
    """Replays one batch: each pass updates the weights and moves the perturbation.

    Args:
        views: (N, 3, S, S) in [0, 1]; they stay the same within the replays.
        delta: same shape; the perturbation that the last batch left behind.
        threat: where delta may be.
        step: of delta, along the sign of its gradient.
        replays: m, the number of passes.
        update: one forward and backward pass on its argument and one step of the weights.

    Returns:
        The perturbation for the next batch.
    """
    delta = threat.project(views, delta)
    for _ in range(replays):
        perturbed = (views + delta).requires_grad_()
        update(perturbed)
        assert perturbed.grad is not None
        delta = threat.project(views, delta + step * perturbed.grad.sign())
    return delta


def initial_delta(views: int, batch: int, size: int, device: torch.device) -> Tensor:
    """Zeros, (views * batch, 3, size, size) float32."""
    return torch.zeros(views * batch, 3, size, size, device=device)
