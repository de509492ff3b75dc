"""PGD against closed forms and against plain PGD written out slowly."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cfamc_zoo.errors import DataError, ModelError, UsageError
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.zoo.threat import Linf

# Small, so that about half of the random images fall.
CLASSES, EPS = 4, 1 / 255
PGD = Pgd()


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3 * 8 * 8, CLASSES)

    def forward(self, x):
        return self.head(x.flatten(1))


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.head = nn.Linear(16 * 8 * 8, CLASSES)
        nn.init.uniform_(self.bn1.running_mean, -0.3, 0.3)
        nn.init.uniform_(self.bn1.running_var, 0.2, 2)

    def forward(self, x):
        return 3 * self.head(F.relu(self.bn1(self.conv1(x))).flatten(1))


@pytest.fixture
def images():
    return torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def own_labels(model, images):
    with torch.no_grad():
        return model.eval()(images).argmax(1)


def accuracy(model, images, labels, *, attack=PGD, radius="1/255", batch_size=60):
    data = Examples(images, labels, CLASSES)
    return evaluate(model, data, attack, [Linf.of(radius)], Run(batch_size=batch_size))


def test_on_a_linear_model_the_verdicts_are_the_exact_ones(images):
    """Each pairwise margin falls by eps |w_y - w_j|_1 at most, and PGD must get all of it."""
    model = Linear()
    images = 0.2 + 0.6 * images  # so that [0, 1] does not cut the ball
    labels = own_labels(model, images)
    w, logits = model.head.weight.double(), model(images).double()
    margins = logits.gather(1, labels[:, None]) - logits
    fall = EPS * (w[labels][:, None] - w).abs().sum(2)
    slack = (margins - fall).masked_fill(F.one_hot(labels, CLASSES).bool(), math.inf).amin(1)
    exact = slack > 0
    clear = slack.abs() > 1e-4  # nearer than that, rounding decides
    assert 5 < exact.sum() < 55
    found = torch.tensor(accuracy(model, images, labels, attack=Pgd(steps=40))[1].correct)
    # The cross entropy may follow another class than the nearest: a few can stand wrongly.
    assert not (found[clear] < exact[clear]).any(), "an image cannot fall that has no way to"
    assert (found[clear] != exact[clear]).sum() <= 3


def test_perturbations_stay_in_the_ball_and_in_the_image(images):
    model, labels = Convolutional(), torch.zeros(60, dtype=torch.long)
    with attacked(model, images, labels, CLASSES) as victim:
        adversarial = Pgd(steps=5).run(victim, Batch(images, labels, range(60), 60), Linf(EPS))
    assert (adversarial - images).abs().max() <= EPS + 1e-6
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1


def slow_pgd(model, images, labels, eps, steps, seeds):
    """Float32, every image to the end, one at a time: the textbook."""
    import numpy as np

    robust = []
    for x, y, seed in zip(images, labels, seeds, strict=True):
        noise = np.random.default_rng((seed, 0)).uniform(-eps, eps, x.shape).astype("float32")
        delta = torch.from_numpy(noise)
        stands = True
        for _ in range(steps + 1):
            point = (x + delta.clamp(-eps, eps)).clamp(0, 1).requires_grad_()
            logits = model(point[None])
            stands &= bool(logits.argmax() == y)
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y[None]), point)
            delta = (point.detach() - x) + 2.5 * eps / steps * gradient.sign()
        robust.append(stands)
    return robust


def test_never_more_robust_than_the_textbook(images):
    model = Convolutional()
    labels = own_labels(model, images)
    ours = accuracy(model, images, labels, radius="3/255")[1].correct
    textbook = slow_pgd(model, images, labels, 3 / 255, 20, range(60))
    assert 5 < sum(textbook) < 55
    assert sum(ours) <= sum(textbook) + 1


def test_a_verdict_does_not_depend_on_the_batch_or_its_order(images):
    model = Convolutional()
    labels = own_labels(model, images)
    whole = accuracy(model, images, labels)[1].correct
    again = accuracy(model, images, labels)[1].correct
    assert whole == again
    parts = accuracy(model, images, labels, batch_size=7)[1].correct
    assert sum(a != b for a, b in zip(whole, parts, strict=True)) <= 1


def test_every_fall_is_the_models_own_in_float32(images):
    """A search that lies is not believed."""
    model = Convolutional()
    labels = own_labels(model, images)
    with attacked(model, images, labels, CLASSES) as victim:
        wrong = nn.Linear(1, 1)
        wrong.forward = lambda x: -20 * model(x)  # says that everything has fallen
        victim.search = wrong
        adversarial = Pgd(steps=3).run(victim, Batch(images, labels, range(60), 60), Linf(EPS))
        fallen = victim.predictions(adversarial) != labels
    # Its gradients lead away from every boundary, so hardly any image really falls.
    assert fallen.float().mean() < 0.2


def test_more_restarts_and_larger_balls_never_help_the_model(images):
    model = Convolutional()
    labels = own_labels(model, images)
    one, many = (
        sum(accuracy(model, images, labels, attack=Pgd(steps=3, restarts=r))[1].correct)
        for r in (1, 4)
    )
    assert many <= one
    threats = [Linf(0.0001), Linf(1 / 255), Linf(1)]
    results = evaluate(model, Examples(images, labels, CLASSES), Pgd(), threats)
    counts = [sum(r.correct) for r in results]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 60
    assert counts[-1] == 0


def test_the_model_is_given_back_as_it_was(images):
    model = Convolutional().train()
    model.bn1.eval()
    accuracy(model, images, own_labels(Convolutional(), images))
    assert model.training
    assert not model.bn1.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda m, x, y: (m, x * 2, y), DataError, "must be in [0, 1]"),
        (lambda m, x, y: (m, x * float("nan"), y), DataError, "must be in [0, 1]"),
        (lambda m, x, y: (m, x, y + CLASSES), DataError, "the model knows 0..3"),
        (lambda m, x, y: (m, x[:0], y[:0]), DataError, "no images"),
        (lambda m, x, y: (nn.Flatten(), x, y), ModelError, "must return logits of shape"),
        (lambda m, x, y: (nn.Conv2d(5, 1, 1), x, y), ModelError, "the model failed on images"),
    ],
)
def test_what_cannot_be_attacked_is_said_in_one_line(images, change, error, said):
    model = Convolutional()
    model, x, y = change(model, images, own_labels(model, images))
    with pytest.raises(error) as raised:
        accuracy(model, x, y)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_that_returns_nan_gives_no_verdict(images):
    class Broken(Convolutional):
        def forward(self, x):
            return super().forward(x) / 0 * 0

    with pytest.raises(ModelError, match="not finite"):
        accuracy(Broken(), images, torch.zeros(60, dtype=torch.long))


@pytest.mark.parametrize("bad", [{"steps": 0}, {"restarts": 0}, {"step_size": 0.0}])
def test_impossible_settings(bad):
    with pytest.raises(UsageError, match="must be"):
        Pgd(**bad)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (81, 263, 0.2553, 0.3662),
        (10, 10, 0.7225, 1.0),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(k, n, low, high):
    """The middle two rows of each end are in Newcombe (1998), table I."""
    assert wilson(k, n) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
