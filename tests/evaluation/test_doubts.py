"""Each doubt is raised by a model built to deserve it, and none by a plain one."""

import pytest
import torch
from torch import nn

from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.doubts import doubts_of_model, doubts_of_results
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.robustness import Accuracy, evaluate
from cfamc_zoo.zoo.threat import Linf, threat_of
from tests.evaluation.attacks.models import (
    Affine,
    Convolutional,
    distances,
    own_labels,
    some_images,
)


class Random(Affine):
    def forward(self, x):
        z = super().forward(x)
        return z + 0.05 * torch.randn_like(z)


class Stubborn(Convolutional):
    """A BatchNorm that cannot be put into evaluation mode."""

    def train(self, mode=True):
        super().train(mode)
        self.bn1.training = True
        return self


class BatchStatistics(Convolutional):
    """In evaluation mode, but without statistics of its own."""

    def __init__(self):
        super().__init__()
        self.bn1.running_mean = self.bn1.running_var = None


class Probabilities(Affine):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Saturated(Affine):
    """The softmax of its logits is 0 or 1 to the last digit."""

    def forward(self, x):
        return 1e6 * super().forward(x)


class Rounded(Affine):
    def forward(self, x):
        z = super().forward(x)
        return (100 * z).round() / 100 + 0 * z


class Moat(nn.Module):
    """The right class's margin by the mean pixel's distance from the centre: down, a wall, down.

    Long steps jump the wall; short ones are thrown back by it.
    """

    def forward(self, x):
        shift = (x - 0.5).flatten(1).mean(1).abs()
        wall = torch.where(shift < 0.01, 1 - 40 * shift, 1.2 - 400 * (shift - 0.012).abs())
        margin = torch.where(shift < 0.014, wall, 0.4 - 100 * (shift - 0.014))
        return torch.stack((margin, torch.zeros_like(margin)), 1)


class Fortress(Affine):
    """Nothing but the clean image's own class comes out, whatever goes in."""

    def forward(self, x):
        z = super().forward(x) * 1e-3
        return z + torch.tensor([1.0, 0, 0, 0, 0])


def names(model, norm="linf"):
    images = some_images(low=0.2, high=0.8)
    data = Examples(images, own_labels(type(model)(), images), 5)
    found = doubts_of_model(model, data, threat_of(norm, "0.001"))
    assert all("\n" not in d.text for d in found)
    return {d.name for d in found}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [Affine, Convolutional])
def test_a_plain_model_raises_none(make, norm):
    assert names(make().eval(), norm=norm) == set()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Random, "random"),
        (Stubborn, "train-mode"),
        (Convolutional, "train-mode"),
        (BatchStatistics, "batch-dependent"),
        (Probabilities, "probabilities"),
        (Saturated, "zero-gradient"),
        (Rounded, "zero-gradient"),
        (Fortress, "whole-range"),
    ],
)
def test_what_deserves_a_doubt_gets_it(make, name):
    torch.manual_seed(0)
    assert name in names(make().train() if make is Convolutional else make().eval())


def test_of_a_random_model_nothing_is_said_about_its_batches():
    torch.manual_seed(0)
    assert "batch-dependent" not in names(Random().eval())


def test_more_steps_that_help_the_model():
    images = 0.5 + 0.002 * torch.randn(32, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    images = images.expand(32, 3, 8, 8).contiguous()
    labels = torch.zeros(32, dtype=torch.long)
    found = doubts_of_model(Moat().eval(), Examples(images, labels, 2), Linf(0.035))
    assert "more-steps" in {d.name for d in found}


def row(attack, eps, stands, n=100):
    return Accuracy("robust accuracy", attack, eps, [True] * stands + [False] * (n - stands), 1.0)


def test_accuracy_that_grows_with_the_radius():
    threats = [Linf.of("8/255"), Linf.of("4/255")]
    (doubt,) = doubts_of_results([row("PGD", "8/255", 40), row("PGD", "4/255", 30)], threats)
    assert doubt.name == "larger-epsilon"
    assert "from 30.0% at 4/255 to 40.0% at 8/255" in doubt.text
    for large, small in ((30, 40), (31, 30)):
        rows = [row("PGD", "8/255", large), row("PGD", "4/255", small)]
        assert doubts_of_results(rows, threats) == []


def test_a_search_without_gradients_that_beats_those_with():
    model, images = Rounded().eval(), some_images(low=0.2, high=0.8)
    labels = own_labels(model, images)
    threats = [Linf(3 * distances(Affine(), images, labels, "linf").median().item())]
    both = Ensemble("both", (Pgd(steps=5), Square(queries=300)))
    rows = evaluate(model, Examples(images, labels, 5), both, threats)
    (doubt,) = doubts_of_results(rows, threats)
    assert doubt.name == "black-box"
