"""`cfamc_zoo.attack`: any classifier, from Python."""

import numpy as np
import pytest
import torch
from torch import nn

import cfamc_zoo
from cfamc_zoo.errors import DataError, ModelError, UnknownNameError, UsageError
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.robustness import evaluate
from tests.evaluation.attacks.models import Affine, Convolutional, own_labels, some_images


@pytest.fixture
def images():
    return some_images()


@pytest.fixture
def model():
    return Convolutional()


def test_it_finds_what_the_attack_finds(model, images):
    labels = own_labels(model, images)
    result = cfamc_zoo.attack(model, images, labels, eps=["2/255", 4 / 255], norm="linf", seed=3)
    expected = evaluate(
        model, images, labels, classes=5, attack=Pgd(), epsilons=["2/255", str(4 / 255)],
        seed=3, batch_size=128,
    )  # fmt: skip
    assert [a.correct for a in result.accuracies] == [a.correct for a in expected]
    assert 0 < result.accuracies[2].value < result.accuracies[1].value < 100


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_images_that_come_back_are_in_the_ball_and_have_the_verdicts(model, images, norm):
    labels = own_labels(model, images)
    eps = 0.02 if norm == "linf" else 0.3
    result = cfamc_zoo.attack(model, images, labels, eps=eps, norm=norm)
    (adversarial,) = torch.from_numpy(result.adversarial)
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    delta = (adversarial - images).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert size.max() <= eps * (1 + 1e-5)
    assert (own_labels(model, adversarial) == labels).tolist() == result.accuracies[-1].correct
    assert 0 < result.accuracies[-1].value < 100


def test_it_says_why_a_number_should_be_doubted(images):
    class Detached(Convolutional):
        def forward(self, x):
            return super().forward(x).detach()

    model = Detached()
    result = cfamc_zoo.attack(model, images, own_labels(model, images), eps="2/255")
    assert "zero-gradient" in [doubt.name for doubt in result.doubts]
    lines = str(result).splitlines()
    assert lines[0] == "clean accuracy: 100.00% (91.24..100.00), 40 images"
    assert lines[1].startswith("robust accuracy, PGD-20 2/255: ")
    assert any(line.startswith("doubt: 32 of 32 images have") for line in lines)


def test_an_ensemble_and_what_it_runs_instead_for_few_classes(images):
    model = Affine(classes=3)
    labels = own_labels(model, images)
    result = cfamc_zoo.attack(model, images, labels, attack="apgd-only", eps=0.01)
    assert [a.attack for a in result.accuracies] == ["", "APGD-CE", "APGD-T", "APGD-CE + APGD-T"]
    assert any("the targeted DLR loss needs 4 classes" in note for note in result.notes)


def test_the_model_is_given_back_as_it_was(images):
    model = Convolutional().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cfamc_zoo.attack(model, images, torch.zeros(40, dtype=torch.int32), eps=0.01)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"attack": "pdg"}, UnknownNameError, "did you mean pgd"),
        ({"attack": "feature"}, UsageError, "not on a classifier"),
        ({"eps": "8"}, UsageError, "did you mean 8/255"),
        ({"eps": -0.1}, UsageError, "negative"),
        ({"eps": []}, UsageError, "no radius"),
        ({"norm": "l1"}, UnknownNameError, "l1"),
        ({"images": torch.zeros(0, 3, 8, 8)}, DataError, "no images"),
        ({"images": 255 * some_images()}, DataError, "must be in [0, 1]"),
        ({"labels": torch.zeros(39, dtype=torch.long)}, DataError, "40 images and 39 labels"),
        ({"labels": torch.full((40,), 5)}, DataError, "the model knows 0..4"),
        ({"model": nn.Flatten(0)}, ModelError, "shape (1, classes)"),
        ({"model": nn.Linear(3, 3)}, ModelError, "the model failed on images"),
    ],
)
def test_bad_input_is_one_clear_line(model, images, change, error, said):
    given = {"model": model, "images": images, "labels": torch.zeros(40, dtype=torch.long)}
    with pytest.raises(error) as raised:
        cfamc_zoo.attack(**{**given, **change})
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_equal_calls_give_equal_bits(model, images):
    labels = own_labels(model, images)
    first, second = (cfamc_zoo.attack(model, images, labels, eps=0.01) for _ in range(2))
    assert np.array_equal(first.adversarial, second.adversarial)
