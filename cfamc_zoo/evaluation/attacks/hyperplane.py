"""The shortest way to a hyperplane that stays in the image: the step of the boundary attack."""

from __future__ import annotations

from torch import Tensor

from cfamc_zoo.zoo.threat import Threat

ROUNDS = 40  # at most; about ten are usual
CLOSE = 1e-6  # of the way left, relative


def step_onto(points: Tensor, normal: Tensor, gap: Tensor, threat: Threat) -> Tensor:
    """The smallest d, in the threat's norm, with normal . d = gap and points + d in [0, 1].

    Every coordinate moves in the direction that closes the gap, at its own pace (1 in
    L-infinity, |normal| in L2), until it meets the image's bound. What all have closed after
    time t is piecewise linear and concave in t, so Newton's method from t = 0 rises to the
    solution and never passes it. Where even the bounds do not close the gap, all go to them.

    Args:
        points: (N, C, H, W) in [0, 1].
        normal: same shape.
        gap: (N,), what is missing.

    Returns:
        (N, C, H, W) d.
    """
    shape = points.shape
    direction = (normal.flatten(1) * gap[:, None]).sign()
    weight, points = normal.flatten(1).abs(), points.flatten(1)
    room = ((direction + 1) / 2 - points) * direction  # to 1 or to 0; 0 where nothing is gained
    pace = weight if threat.norm == "l2" else (weight > 0).to(weight)
    missing = gap.abs()
    time = missing.new_zeros(len(missing), 1)
    for _ in range(ROUNDS):
        moving = pace * time < room
        closed = (weight * (pace * time).minimum(room)).sum(1)
        left = missing - closed
        rate = (weight * pace * moving).sum(1)
        if not bool(((left > CLOSE * missing) & (rate > 0)).any()):
            break
        time = time + (left.clamp_min(0) / rate.clamp_min(1e-30)).where(rate > 0, 0)[:, None]
    # Where the bounds alone could not close it, the rate fell to 0 and all are at their bounds.
    return (direction * (pace * time).minimum(room)).view(shape)
