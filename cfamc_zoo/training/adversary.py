"""Perturbations of crops during training: free (replayed) and PGD.

N crops are (N, 3, S, S) in [0, 1]; a perturbation has the same shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.zoo.threat import Threat


def replay(
    crops: Tensor,
    delta: Tensor,
    threat: Threat,
    *,
    step: float,
    replays: int,
    update: Callable[[Tensor], None],
) -> Tensor:
    """Replays one batch: each pass updates the weights and moves the perturbation.

    The perturbation's gradient comes out of the backward pass that the weights need anyway.
    A new batch's first pass is projected too, so that the network sees images in [0, 1] only;
    the paper's public code leaves that one pass as it falls.

    Args:
        crops: they stay the same within the replays.
        delta: the perturbation that the last batch left behind.
        threat: where delta may be.
        step: of delta, in the threat's norm, along the direction of steepest ascent.
        replays: m, the number of passes.
        update: one forward and backward pass on its argument and one step of the weights.

    Returns:
        The perturbation for the next batch.

    Source: Shafahi et al. (arXiv 1904.12843), algorithm 1, on crops as in arXiv 2501.03507.
    """
    delta = threat.project(crops, delta)
    for _ in range(replays):
        perturbed = (crops + delta).requires_grad_()
        update(perturbed)
        assert perturbed.grad is not None
        delta = threat.project(crops, delta + step * threat.steepest(perturbed.grad))
    return delta


def ascend(
    crops: Tensor,
    threat: Threat,
    *,
    step: float,
    steps: int,
    loss: Callable[[Tensor], Tensor],
    start: Tensor | None = None,
) -> Tensor:
    """PGD from `start`, else zero: the perturbation after `steps` steepest steps up `loss`.

    Only the crops' gradient is computed. In the paper's public code the attack's passes also
    add to the weights' gradients, which the optimizer then steps on; here they do not.
    """
    delta = torch.zeros_like(crops) if start is None else threat.project(crops, start)
    for _ in range(steps):
        perturbed = (crops + delta).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(perturbed), perturbed)
        delta = threat.project(crops, delta + step * threat.steepest(gradient))
    return delta


def random_start(threat: Threat, shape: tuple[int, ...], seed: tuple[int, ...]) -> Tensor:
    """(N, 3, S, S) float32 perturbations, each uniform in the ball: a function of the seed."""
    generator = np.random.default_rng(seed)
    drawn = [threat.random_inside(generator, shape[1:]) for _ in range(shape[0])]
    return torch.from_numpy(np.stack(drawn)).float()
