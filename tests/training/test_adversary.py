"""Free replay and PGD on a loss whose gradients are known."""

import torch

from cfamc_zoo.training.adversary import ascend, replay
from cfamc_zoo.zoo.threat import Linf


def crops():
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_replay_moves_weights_and_perturbation_from_one_backward_pass():
    """Against the published algorithm, written out step by step."""
    x, threat = crops(), Linf(8 / 255)
    weight = torch.ones(1, requires_grad=True)
    calls = []

    def update(perturbed):
        calls.append(perturbed.detach().clone())
        (weight * (perturbed - 0.5).square()).sum().backward()
        with torch.no_grad():
            weight.sub_(1e-3 * weight.grad)
            weight.grad = None

    start = torch.full_like(x, 0.02)
    delta = replay(x, start, threat, step=0.01, replays=3, update=update)

    w, d, expected = 1.0, (x + start).clamp(0, 1) - x, []
    for _ in range(3):
        expected.append(x + d)
        gradient = 2 * w * (x + d - 0.5)
        w -= 1e-3 * float((x + d - 0.5).square().sum())
        d = (x + (d + 0.01 * gradient.sign()).clamp(-8 / 255, 8 / 255)).clamp(0, 1) - x
    for got, want in zip(calls, expected, strict=True):
        torch.testing.assert_close(got, want)
    torch.testing.assert_close(delta, d)
    assert weight.item() == torch.tensor(w).item()


def test_every_image_that_the_network_sees_is_an_image():
    x, seen = crops().round(), []
    left_behind = torch.full_like(x, 8 / 255)

    def update(perturbed):
        seen.append(perturbed.detach())
        perturbed.sum().backward()

    replay(x, left_behind, Linf(8 / 255), step=0.01, replays=2, update=update)
    assert all(images.min() >= 0 and images.max() <= 1 for images in seen)


def test_ascend_reaches_the_corner_of_a_linear_loss_and_leaves_the_weights_gradients_alone():
    x = 0.25 + crops() / 2  # far enough from 0 and 1 not to be clipped there
    weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    delta = ascend(x, Linf(8 / 255), step=0.01, steps=5, loss=lambda z: (z * weight).sum())
    torch.testing.assert_close(delta, (8 / 255 * weight.sign()).detach().expand_as(x))
    assert weight.grad is None
