"""The words of cards: each from data that it follows from."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

import cfamc_zoo
from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.evaluation.heads import linear as probe
from cfamc_zoo.export.card import HEADS, render_release
from cfamc_zoo.export.release import changes_since
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.folder import open_release
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL
from tests.export.kinds import Kind, make


def test_how_heads_are_chosen_is_as_the_code_has_it():
    sentence = HEADS[OWN_PROTOCOL]
    assert f"keep {probe.KEPT:.0%} of the best clean accuracy" in sentence
    assert Fraction(str(probe.HELD_OUT)) == Fraction(1, 10) and "A tenth of those" in sentence


@pytest.mark.parametrize("averaging", [0.98, 0.5, 0.0, None, False, "none", {"decay": 0.5}])
def test_averages_are_named_where_there_are_any(averaging):
    (_, *more) = wording.training({"seed": 1, "averaging": averaging}, {})
    named = averaging in (0.98, 0.5)
    assert [f"with a decay of {averaging}," in s for s in more] == [True] * named


def test_what_was_behind_the_first_weights_is_told():
    before = {"name": "some", "sha256": "ab" * 32, "steps": 85, "seconds": 7200.0}
    (_, said) = wording.training({"seed": 1}, {"from": before})
    assert "`some` (sha256 abababababab), after 85 batches and 120 minutes of training." in said


@pytest.mark.parametrize(
    ("recipe", "steps", "said"),
    [
        ({"epochs": 2, "max_steps": 0, "batch_size": 5}, 400, "2 epochs, 400 batches of 5 images"),
        ({"epochs": 2, "max_steps": 500}, 400, "2 epochs, 400 batches"),
        ({"epochs": 2, "max_steps": 14}, 14, "14 batches, after which the run was ended"),
        ({"epochs": 1, "max_steps": 0}, 1, "1 epoch, 1 batch"),
        ({"epochs": 2}, 400, "400 batches"),
    ],
)
def test_epochs_are_told_where_all_of_them_were_run(recipe, steps, said):
    assert wording.training(recipe, {"steps": steps}) == [f"{said}."]


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (64, "ResNet-50"),
        (32, "ResNet-50 of half the usual width"),
        (8, "ResNet-50 of an eighth of the usual width"),
        (128, "ResNet-50 of twice the usual width"),
        (20, "ResNet-50 of width 20, where 64 is usual"),
    ],
)
def test_widths_in_words(width, said):
    assert ResNetArchitecture(backbone="resnet50", width=width).title == said


def test_weights_that_were_changed_are_not_passed_off_as_the_trained_ones(tiny_release):
    encoder = cfamc_zoo.load(str(tiny_release))
    assert changes_since(encoder) == {}
    with torch.no_grad():
        encoder.backbone.conv1.weight += 0.5
    digest = open_release(tiny_release).digest
    (said,) = wording.training({}, changes_since(encoder))
    assert f"changed since they were read from `tiny` (sha256 {digest[:12]})" in said
    assert (
        changes_since(Encoder(ResNetArchitecture(width=4, representation=32, projection=16))) == {}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": {"objective": 3}},
        {"recipe": {"epochs": 1, "batch_size": [], "max_steps": "x"}, "provenance": {"steps": 1}},
        {"provenance": {"imported": {"left_out": []}}},
        {"provenance": {"from": {"name": "some"}}},
    ],
)
def test_what_cannot_be_is_an_error_of_one_line(tmp_path, wrong):
    release = make(Kind(), tmp_path / "some")
    release = replace(release, config=replace(release.config, **wrong))
    with pytest.raises(ReleaseError, match="nothing can be said of 'some'"):
        render_release(release)
