"""The shortest way to a hyperplane that stays in the image: the step of the boundary attack."""

from __future__ import annotations

from torch import Tensor

from cfamc_zoo.zoo.threat import Threat


def step_onto(points: Tensor, normal: Tensor, gap: Tensor, threat: Threat) -> Tensor:
    """The smallest d, in the threat's norm, with normal . d = gap and points + d in [0, 1].

    Every coordinate moves in the direction that closes the gap, at most to the image's bound;
    how far each, is the norm's to say. Where even the bounds do not close the gap, all go to them.

    Args:
        points: (N, C, H, W) in [0, 1].
        normal: same shape.
        gap: (N,), what is missing.

    Returns:
        (N, C, H, W) d.
    """
    direction = (normal.flatten(1) * gap[:, None]).sign()
    weight = normal.flatten(1).abs()
    room = ((direction + 1) / 2 - points.flatten(1)) * direction  # to 1 or to 0; 0 where none
    return (direction * threat.moves(weight, room, gap.abs())).view(points.shape)
