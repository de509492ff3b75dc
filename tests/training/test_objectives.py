"""Fast losses against slow ones in float64."""

import pytest
import torch
from torch.nn import functional as F

from cfamc_zoo.training.objectives.emp import Emp, coding_rate, invariance
from cfamc_zoo.training.objectives.nt_xent import nt_xent


def unit(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    z = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return F.normalize(z, dim=-1).requires_grad_()


@pytest.mark.parametrize(("b", "d"), [(6, 10), (10, 6), (7, 7)])
def test_coding_rate_is_the_logdet_of_the_large_matrix(b, d):
    z = unit(3, b, d)
    slow = sum(
        0.5 * torch.logdet(torch.eye(d, dtype=z.dtype) + d / (b * 0.2) * view.T @ view)
        for view in z
    )
    fast = coding_rate(z, 0.2)
    torch.testing.assert_close(fast, slow / 3)
    fast_gradient, slow_gradient = (torch.autograd.grad(x, z)[0] for x in (fast, slow / 3))
    torch.testing.assert_close(fast_gradient, slow_gradient)


def test_invariance_is_the_mean_cosine_to_the_mean_view():
    z = unit(4, 5, 6).detach()
    total = 0.0
    for b in range(5):
        mean = sum(z[v, b] for v in range(4)) / 4
        total += sum(float(z[v, b] @ mean / (z[v, b].norm() * mean.norm())) for v in range(4))
    assert invariance(z).item() == pytest.approx(-total / 20, abs=1e-12)


def test_nt_xent_is_simclrs_equation_one():
    z = unit(2, 5, 6).detach()
    flat, total = z.flatten(0, 1), 0.0
    for i in range(10):
        positive = (flat[i] @ flat[(i + 5) % 10] / 0.07).exp()
        others = sum((flat[i] @ flat[k] / 0.07).exp() for k in range(10) if k != i)
        total -= float((positive / others).log())
    assert nt_xent(z, 0.07).item() == pytest.approx(total / 10, abs=1e-9)


def test_emp_weighs_its_parts_as_the_recipe_says():
    z = unit(3, 4, 6)
    loss, parts = Emp(invariance=200, coding_rate=0.5).loss(z)
    assert loss.item() == pytest.approx(
        200 * parts["invariance"].item() - 0.5 * parts["coding_rate"].item()
    )
