"""Attacks on the mean over crops: as one function, through the expectation."""

import pytest
import torch
from torch import nn

from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.crops import crops_notes, crops_settings
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
from cfamc_zoo.zoo.threat import threat_of
from tests.conftest import make_encoder
from tests.evaluation.attacks.models import own_labels, some_images

IMAGES = some_images(24, side=32)
ATTACK = Pgd(steps=6, loss="margin")


def classifier(plan=None):
    encoder = make_encoder()
    torch.manual_seed(3)
    head = nn.Linear(32, 10)
    reader = MultiCrop(encoder, plan) if plan else encoder
    model = Classifier(reader, head, feature="backbone", classes=("a",) * 10, data="d").eval()
    # Centred, so that the labels are of several classes.
    with torch.no_grad():
        head.bias -= model(IMAGES).mean(0)
    return model


def verdicts(model, labels, eps="0.01"):
    rows = evaluate(model, Examples(IMAGES, labels, 10), ATTACK, [threat_of("linf", eps)])
    return rows[1].correct


def test_one_crop_of_the_whole_image_is_the_image():
    plain, whole = classifier(), classifier(CropPlan(1, (1, 1), (1, 1)))
    torch.testing.assert_close(whole(IMAGES), plain(IMAGES), atol=1e-5, rtol=1e-5)
    labels = own_labels(plain, IMAGES)
    assert verdicts(whole, labels) == verdicts(plain, labels)


def test_a_seed_gives_the_same_verdicts_again():
    first, again, other = (
        classifier(CropPlan(4, (0.2, 1), (0.75, 1.33), seed)) for seed in (0, 0, 1)
    )
    labels = own_labels(first, IMAGES)
    assert verdicts(first, labels) == verdicts(again, labels)
    assert not torch.equal(first(IMAGES), other(IMAGES))


def test_through_the_expectation_is_stronger_than_past_the_crops():
    model = classifier(CropPlan(8, (0.1, 0.5), (0.75, 1.33)))
    labels, eps = own_labels(model, IMAGES), "0.01"
    through = sum(verdicts(model, labels, eps))
    blind = Classifier(
        model.encoder.encoder, model.head, feature="backbone", classes=model.classes, data="d"
    )
    with attacked(blind, IMAGES, labels, 10) as victim:
        # On the labels of the model that is attacked; where the blind one differs, it has moved
        # nothing, which is what an attacker without crops would do.
        x = ATTACK.run(victim, Batch(IMAGES, labels, range(24), 24), threat_of("linf", eps))
    past = int((own_labels(model, x) == labels).sum())
    assert through < past


def test_what_is_said():
    model = MultiCrop(make_encoder(), CropPlan(3, (0.2, 1), (0.75, 1.33), 7))
    assert crops_settings(model)["count"] == 3
    (note,) = crops_notes(model)
    assert "mean over 3 crops" in note and "seed 7" in note and "expectation" in note
    assert crops_notes(model.encoder) == [] and crops_settings(model.encoder) is None
    with pytest.raises(UsageError, match="0 crops"):
        CropPlan(0, (0.2, 1), (0.75, 1.33))
