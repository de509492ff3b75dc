"""The average of the weights, against slow maths; its statistics; that resuming keeps it."""

import pytest
import torch
from torch import nn

from cfamc_zoo.training import averaging
from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.loop import train

CPU = torch.device("cpu")
PERTURBED = [{"kind": "free", "replays": 2}, {"kind": "pgd", "steps": 2}, {"kind": "none"}]


def run(recipe, images, folder, **options):
    folder.mkdir(exist_ok=True)
    return train(recipe, images, folder, device=CPU, report=lambda _: None, **options)


def test_the_average_is_the_exponential_one_over_batches(make_recipe, images):
    engine = Engine(make_recipe(averaging=0.75), images, CPU)
    expected = {}
    for number in range(4):
        engine.step(number)
        for name, weight in engine.encoder.named_parameters():
            present = weight.detach().double()
            before = expected.get(name, present)
            expected[name] = 0.75 * before + 0.25 * present
    averaged = dict(engine.averaged.module.named_parameters())
    assert averaged.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(averaged[name].double(), value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("adversary", PERTURBED, ids=lambda a: a["kind"])
def test_statistics_are_those_of_the_perturbed_crops_to_come(
    make_recipe, images, monkeypatch, adversary
):
    monkeypatch.setattr(averaging, "STATISTICS_CROPS", 40)  # two batches of 24
    engine = Engine(make_recipe(averaging=0.5, adversary=adversary), images, CPU)
    for number in range(3):
        engine.step(number)
    last = engine.encoder.backbone.bn1.running_mean.clone()
    crops = [engine.seen(number) for number in (3, 4)]
    encoder = averaging.released_encoder(engine, 3)

    outputs = [encoder.backbone.conv1(x).detach().double() for x in crops]
    mean = torch.stack([x.mean((0, 2, 3)) for x in outputs]).mean(0)
    variance = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in outputs]).mean(0)
    norm = encoder.backbone.bn1
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(norm.running_mean, last, rtol=1e-3)
    momenta = {m.momentum for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)}
    assert momenta == {0.1}


def test_crops_that_are_seen_carry_the_perturbation(make_recipe, images):
    engine = Engine(make_recipe(adversary={"kind": "free", "replays": 2}), images, CPU)
    engine.step(0)
    moved = (engine.seen(1) - engine.batches.take(1)).abs()
    assert 0.01 < moved.max() <= 8 / 255 + 1e-6
    assert (engine.seen(1) >= 0).all() and (engine.seen(1) <= 1).all()


def test_a_stopped_and_resumed_average_is_that_of_the_unbroken_run(
    make_recipe, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(averaging, "STATISTICS_CROPS", 40)
    recipe = make_recipe(averaging=0.5)
    whole = run(recipe, images, tmp_path / "whole")
    stops = iter([False, False, True])
    part = run(recipe, images, tmp_path / "part", stop=lambda: next(stops))
    assert not part.finished and part.encoder is not None
    resumed = run(recipe, images, tmp_path / "part").encoder.state_dict()
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed[name]), name


def test_without_an_average_a_stopped_run_has_nothing_to_release(make_recipe, images, tmp_path):
    assert run(make_recipe(), images, tmp_path / "run", stop=lambda: True).encoder is None
