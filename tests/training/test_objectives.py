"""Fast losses against slow ones in float64."""

import pytest
import torch
from torch.nn import functional as F

from cfamc_zoo.training.objectives import KINDS
from cfamc_zoo.training.objectives.dcl import Dcl
from cfamc_zoo.training.objectives.dclw import Dclw
from cfamc_zoo.training.objectives.emp import Emp, coding_rate, invariance
from cfamc_zoo.training.objectives.nt_xent import nt_xent
from cfamc_zoo.training.objectives.vicreg import VicReg


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


def slow_dcl(first, second, weight, temperature):
    """Equation 6 for the anchors of one view, image by image."""
    n, total = len(first), 0.0
    for i in range(n):
        others = sum(
            (first[i] @ view[j] / temperature).exp()
            for view in (first, second)
            for j in range(n)
            if j != i
        )
        total += float(-weight[i] * (first[i] @ second[i]) / temperature + others.log())
    return total / n


def slow_weights(first, second, sigma):
    values = [(first[i] @ second[i] / sigma).exp() for i in range(len(first))]
    return [2 - value / (sum(values) / len(values)) for value in values]


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("weighted", [False, True], ids=["dcl", "dclw"])
def test_decoupled_contrastive_learning_is_equation_six_over_pairs_of_views(views, weighted):
    z = unit(views, 5, 6).detach()
    pairs = [(k, m) for k in range(views) for m in range(views) if k != m]
    total = 0.0
    for k, m in pairs:
        weight = slow_weights(z[k], z[m], 0.4) if weighted else [1.0] * 5
        total += slow_dcl(z[k], z[m], weight, 0.2)
    objective = Dclw(temperature=0.2, sigma=0.4) if weighted else Dcl(temperature=0.2)
    loss, parts = objective.loss(z)
    assert loss.item() == pytest.approx(total / len(pairs), abs=1e-9)
    assert loss.item() == pytest.approx(
        parts["repulsion"].item() - parts["attraction"].item(), abs=1e-12
    )


def test_the_pull_of_a_pair_does_not_fade_as_it_agrees():
    # Equal views, orthogonal to those of all others: NT-Xent has nearly no gradient left.
    z = F.one_hot(torch.arange(5), 6).double().expand(2, 5, 6).clone().requires_grad_()
    pull = -(torch.autograd.grad(Dcl(temperature=0.1).loss(z)[0], z)[0] * z).sum(-1)
    torch.testing.assert_close(pull, torch.full_like(pull, 1 / 0.1 / 5))
    assert torch.autograd.grad(nt_xent(z, 0.1), z)[0].abs().max() < 0.01


@pytest.mark.parametrize("views", [2, 4])
def test_vicreg_is_its_papers_three_terms(views):
    z = 2 * unit(views, 6, 5).detach()
    n, d = 6, 5
    pairs = [(k, m) for k in range(views) for m in range(k + 1, views)]
    invariance_term = sum(
        float((z[k, i, j] - z[m, i, j]) ** 2) for k, m in pairs for i in range(n) for j in range(d)
    ) / (n * d * len(pairs))
    variance_term = covariance_term = 0.0
    for view in z:
        mean = sum(view) / n
        matrix = sum(torch.outer(row - mean, row - mean) for row in view) / (n - 1)
        for i in range(d):
            deviation = float(matrix[i, i] + 1e-4) ** 0.5
            variance_term += max(0.0, 1 - deviation) / d
            covariance_term += sum(float(matrix[i, j]) ** 2 for j in range(d) if i != j) / d
    slow = 25 * invariance_term + 2 / views * (25 * variance_term + 2 * covariance_term)
    loss, parts = VicReg(covariance=2.0).loss(z)
    assert loss.item() == pytest.approx(slow, abs=1e-9)
    assert parts["variance"].item() > 0


def test_every_objective_names_itself_once():
    assert len({kind.kind for kind in KINDS}) == len({kind.method for kind in KINDS}) == len(KINDS)
