"""The gradient that attacks follow, of any network."""

from __future__ import annotations

import torch
from torch import Tensor

from cfamc_zoo.errors import ModelError, first_line
from cfamc_zoo.evaluation.victim.batching import is_out_of_memory


def gradient_of(values: Tensor, points: Tensor) -> Tensor:
    """How the sum of (N,) values changes with (N, ...) points; same shape as the points.

    Zero where there is none: a network may end the graph, with another runtime behind it or a
    `detach`, and a derivative may be no number. Attacks then go on with their draws alone, and
    `examine` says why little is to be expected of them.

    Raises:
        ModelError: the network cannot be differentiated, as where it overwrites what that needs.
    """
    if not values.requires_grad:
        return torch.zeros_like(points)
    try:
        (gradient,) = torch.autograd.grad(values.sum(), points, allow_unused=True)
    except RuntimeError as error:  # the model is anybody's code
        if is_out_of_memory(error):
            raise
        raise ModelError(f"the model's gradient fails: {_said(error)}") from error
    if gradient is None:
        return torch.zeros_like(points)
    return gradient.nan_to_num(0.0, 0.0, 0.0)


def _said(error: RuntimeError) -> str:
    said = first_line(error)
    if "inplace" in said:
        return (
            "it changes values in place that its gradient needs; write `x = x + 1` in place of "
            "`x += 1`, and `clamp` in place of `clamp_`"
        )
    return f"{said}; it must be differentiable, or end its graph with `detach`"
