"""The gradient that attacks follow, of any network."""

from __future__ import annotations

import torch
from torch import Tensor


def gradient_of(values: Tensor, points: Tensor) -> Tensor:
    """How the sum of (N,) values changes with (N, ...) points; same shape as the points.

    Zero where there is none: a network may end the graph, with another runtime behind it or a
    `detach`, and a derivative may be no number. Attacks then go on with their draws alone, and
    `examine` says why little is to be expected of them.
    """
    if not values.requires_grad:
        return torch.zeros_like(points)
    (gradient,) = torch.autograd.grad(values.sum(), points, allow_unused=True)
    if gradient is None:
        return torch.zeros_like(points)
    return gradient.nan_to_num(0.0, 0.0, 0.0)
