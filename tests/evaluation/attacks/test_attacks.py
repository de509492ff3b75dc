"""What every attack must keep, and what it must find where the truth is known."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.ensemble import AUTOATTACK, Ensemble, substitutions
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.zoo.threat import L2, threat_of
from tests.evaluation.attacks.models import (
    Affine,
    Convolutional,
    distances,
    own_labels,
    some_images,
)

WHITE_BOX = [
    Pgd(steps=40, restarts=2),
    Pgd(steps=40, loss="margin"),
    Apgd("ce", steps=50),
    Apgd("dlr", steps=50),
    ApgdTargeted(steps=30),
    FabTargeted(steps=20),
]
BLACK_BOX = [Square(queries=300)]
RADII = {"linf": "0.006", "l2": "0.07"}
by_name = {"ids": lambda a: a.name if hasattr(a, "name") else None}


def verdicts(model, images, labels, attack, norm, *, radius, classes=5):
    data = Examples(images, labels, classes)
    rows = evaluate(model, data, attack, [threat_of(norm, radius)])
    return torch.tensor(rows[-1].correct)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", WHITE_BOX, **by_name)
def test_on_a_linear_model_the_verdicts_are_the_exact_ones(attack, norm):
    model, images = Affine(), some_images(low=0.2, high=0.8)
    labels = own_labels(model, images)
    distance = distances(model, images, labels, norm)
    radius = distance.median().item()  # half of the images can fall
    found = verdicts(model, images, labels, attack, norm, radius=f"{radius:.9f}")
    clear = (distance / radius - 1).abs() > 0.02
    exact = distance > radius
    assert clear.sum() >= 30
    assert not (exact & ~found)[clear].any(), "an image cannot fall that has no way to"
    # The cross entropy may follow another class than the nearest: a few can stand wrongly.
    follows = getattr(attack, "loss", "") == "ce"
    assert (found & ~exact)[clear].sum() <= (3 if follows else 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", BLACK_BOX, **by_name)
def test_random_search_finds_most_of_what_there_is(attack, norm):
    model, images = Affine(), some_images(low=0.2, high=0.8)
    labels = own_labels(model, images)
    distance = distances(model, images, labels, norm)
    radius = (3 if norm == "linf" else 5) * distance.median().item()
    found = verdicts(model, images, labels, attack, norm, radius=f"{radius:.9f}")
    exact = distance > radius
    assert not (exact & ~found)[(distance / radius - 1).abs() > 1e-3].any()
    assert found.sum() <= exact.sum() + 12


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", [*WHITE_BOX, *BLACK_BOX], **by_name)
def test_what_comes_back_is_in_the_ball_and_in_the_image(attack, norm):
    model, images = Convolutional(), some_images(24)
    labels = own_labels(model, images)
    threat = threat_of(norm, RADII[norm])
    with attacked(model, images, labels, 5) as victim:
        adversarial = attack.run(victim, Batch(images, labels, range(24), 24), threat)
    assert threat.size(adversarial - images).max() <= threat.eps * (1 + 1e-5) + 1e-7
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    stands = own_labels(model, adversarial) == labels
    assert 0 < stands.sum() < 24, "the test should hold both"


@pytest.mark.parametrize("attack", [*WHITE_BOX, *BLACK_BOX], **by_name)
def test_equal_batches_give_equal_bits_and_other_batches_the_same_verdicts(attack):
    model, images = Convolutional(), some_images(24)
    labels = own_labels(model, images)
    with attacked(model, images, labels, 5) as victim:
        threat = threat_of("linf", RADII["linf"])
        a, b = (attack.run(victim, Batch(images, labels, range(24), 24), threat) for _ in range(2))
        assert torch.equal(a, b)
        order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
        c = torch.empty_like(a)
        for part in order.split(7):
            c[part] = attack.run(
                victim, Batch(images[part], labels[part], part.tolist(), 7), threat
            )
    assert ((own_labels(model, a) == labels) != (own_labels(model, c) == labels)).sum() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_automatic_steps_reach_a_higher_loss_than_fixed_ones(norm):
    """On images that stand, AutoPGD returns the point of the highest loss that it saw."""
    model, images = Convolutional(), some_images(24)
    labels = own_labels(model, images)
    threat = threat_of(norm, f"{float(RADII[norm]) / 4}")
    with attacked(model, images, labels, 5) as victim:
        losses = []
        for attack in (Pgd(steps=50), Apgd("ce", steps=50)):
            x = attack.run(victim, Batch(images, labels, range(24), 24), threat)
            logits = victim.logits(x)
            losses.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
    stands = (victim.logits(x).argmax(1) == labels).cpu()
    assert stands.sum() > 10
    assert (losses[1] - losses[0])[stands].mean() > -1e-4


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_with_few_classes_other_losses_are_run_and_named(classes):
    model, images = Affine(classes), some_images(24, low=0.2, high=0.8)
    labels = own_labels(model, images)
    radius = f"{2 * distances(model, images, labels, 'linf').median().item():.9f}"
    quick = Ensemble("all", (Apgd("dlr", steps=10), ApgdTargeted(steps=10), FabTargeted(steps=10)))
    found = verdicts(model, images, labels, quick, "linf", classes=classes, radius=radius)
    assert found.sum() < 12
    said = " ".join(substitutions(quick, classes))
    assert ("the targeted DLR loss needs 4 classes" in said) == (classes < 4)
    assert ("APGD-DLR: the DLR loss needs 3 classes" in said) == (classes < 3)
    assert f"all {classes - 1} wrong classes were targets" in said
    assert substitutions(AUTOATTACK, 10) == []


def test_an_ensemble_attacks_what_stands_and_ends_with_the_worst_case():
    model, images = Convolutional(), some_images()
    labels = own_labels(model, images)
    labels[:5] = (labels[:5] + 1) % 5  # misclassified as they are
    members = (Pgd(steps=2), Apgd("ce", steps=10), FabTargeted(steps=5), Square(queries=50))
    data = Examples(images, labels, 5)
    rows = evaluate(model, data, Ensemble("all", members), [threat_of("linf", "0.004")])
    assert [r.attack for r in rows] == ["", "PGD-2", "APGD-CE", "FAB-T", "Square", "all"]
    for before, after in pairwise(rows):
        assert not any(b and not a for a, b in zip(before.correct, after.correct, strict=True))
    for before, after in pairwise(rows[:-1]):
        assert after.tried == sum(before.correct)
    assert rows[-1].correct == rows[-2].correct
    assert rows[-1].tried == 35
    assert rows[-1].seconds == pytest.approx(sum(r.seconds for r in rows[1:-1]))


def test_masked_gradients_do_not_stop_the_search_without_gradients():
    """Logits on a staircase: their gradient is zero nearly everywhere."""

    class Staircase(Affine):
        def forward(self, x):
            return (1e4 * super().forward(x)).round() / 1e4 + 0 * super().forward(x)

    model, images = Staircase(), some_images(low=0.2, high=0.8)
    labels = own_labels(model, images)
    radius = f"{3 * distances(Affine(), images, labels, 'linf').median().item():.9f}"
    blind = verdicts(model, images, labels, Pgd(steps=10), "linf", radius=radius).sum()
    found = verdicts(model, images, labels, Square(queries=300), "linf", radius=radius).sum()
    assert found < blind - 10


def test_scaled_logits_stop_the_cross_entropy_but_not_the_ratio():
    """The DLR loss does not change with the logits' scale; the softmax saturates."""
    model, images = Affine(gain=1e6), some_images(low=0.2, high=0.8)
    labels = own_labels(model, images)
    radius = f"{2 * distances(model, images, labels, 'linf').median().item():.9f}"
    saturated = verdicts(model, images, labels, Apgd("ce", steps=20), "linf", radius=radius)
    ratio = verdicts(model, images, labels, Apgd("dlr", steps=20), "linf", radius=radius)
    exact = distances(model, images, labels, "linf") > float(radius)
    assert saturated.sum() > exact.sum() + 5
    assert ratio.sum() <= exact.sum() + 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projections_are_allowed_and_idempotent(norm):
    threat, images = threat_of(norm, "0.3"), some_images()
    delta = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    allowed = threat.project(images, delta)
    assert threat.size(allowed).max() <= 0.3 + 1e-6
    assert (images + allowed).min() >= 0 and (images + allowed).max() <= 1
    torch.testing.assert_close(threat.project(images, allowed), allowed)
    inside = allowed / 2
    torch.testing.assert_close(threat.project(images, inside), inside)


def test_a_short_l2_perturbation_is_not_lengthened():
    delta = torch.full((1, 3, 8, 8), 1e-4)
    assert L2(0.5).project(torch.full_like(delta, 0.5), delta).allclose(delta, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Apgd(steps=0), "steps is 0"),
        (lambda: Apgd("ce", restarts=0), "restarts is 0"),
        (lambda: ApgdTargeted(targets=0), "targets is 0"),
        (lambda: FabTargeted(steps=-1), "steps is -1"),
        (lambda: Square(queries=0), "queries is 0"),
        (lambda: Pgd(loss="cw"), "unknown loss"),
        (lambda: Apgd("drl"), "did you mean dlr"),
        (lambda: threat_of("l1", "0.5"), "unknown norm 'l1'"),
        (lambda: threat_of("l2", "-0.5"), "is negative"),
        (lambda: threat_of("l2", "8"), "did you mean 8/255?"),
        (lambda: threat_of("linf", "3.0"), "is over 1"),
    ],
)
def test_impossible_settings(make, said):
    with pytest.raises((UsageError, UnknownNameError), match=said):
        make()


def test_large_l2_radii_are_allowed_when_they_are_meant():
    assert threat_of("l2", "3.0").eps == 3
    assert threat_of("l2", "510/255").eps == 2


def test_settings_are_values():
    assert Apgd("ce") == dataclasses.replace(Apgd("dlr"), loss="ce")
