"""The step onto a hyperplane against a search that cannot be wrong, only slow."""

import pytest
import torch

from cfamc_zoo.evaluation.attacks.hyperplane import step_onto
from cfamc_zoo.zoo.threat import threat_of


def bisected(points, normal, gap, norm):
    """The same minimum, by halving an interval of the multiplier 200 times in float64."""
    p, w, gap = points.double().flatten(1), normal.double().flatten(1), gap.double()
    toward = w.sign() * gap.sign()[:, None]
    room = torch.where(toward > 0, 1 - p, p) * (toward != 0)
    pace = w.abs() if norm == "l2" else torch.ones_like(w)
    low = torch.zeros(len(p), 1, dtype=torch.double)
    high = torch.full_like(low, 1e6)
    for _ in range(200):
        middle = (low + high) / 2
        enough = (w.abs() * (pace * middle).minimum(room)).sum(1, keepdim=True) >= gap.abs()[
            :, None
        ]
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return (toward * (pace * high).minimum(room)).view(points.shape)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_step_is_the_shortest(norm):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(50, 3, 8, 8, generator=generator)
    points[:10] = points[:10].round()  # at the image's bounds
    normal = torch.randn(points.shape, generator=generator)
    normal[20:30] *= torch.rand(normal[20:30].shape, generator=generator) > 0.9  # mostly zero
    gap = torch.logspace(-3, 3, 50) * torch.tensor([1, -1]).repeat(25)
    threat = threat_of(norm, "1")
    step = step_onto(points, normal, gap, threat)
    torch.testing.assert_close(
        step.double(), bisected(points, normal, gap, norm), rtol=1e-3, atol=1e-5
    )
    moved = points + step
    assert moved.min() >= -1e-6 and moved.max() <= 1 + 1e-6
    reachable = (normal.abs().flatten(1) * 0.3).sum(1) > gap.abs()
    closed = (normal * step).flatten(1).sum(1)
    assert reachable.sum() > 20
    torch.testing.assert_close(closed[reachable], gap[reachable], rtol=1e-4, atol=1e-5)


def test_without_a_normal_there_is_no_step():
    points = torch.rand(2, 3, 4, 4)
    step = step_onto(points, torch.zeros_like(points), torch.ones(2), threat_of("l2", "1"))
    assert step.abs().max() == 0
