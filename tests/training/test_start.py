"""Going on from a release: its weights, what it lacks, and what is said of it."""

import json

import pytest
import torch

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.loop import train
from cfamc_zoo.training.start import start_from
from cfamc_zoo.zoo.release.folder import open_release
from cfamc_zoo.zoo.release.loading import save_release
from tests.conftest import make_config, make_encoder

CPU = torch.device("cpu")
TINY = {"width": 4, "representation": 32, "projection": 16}  # tiny_release's


@pytest.fixture
def recipe(make_recipe):
    return make_recipe(encoder=TINY, max_steps=2)


def save(folder, *, projector=True, **provenance):
    encoder = make_encoder()
    if not projector:
        encoder.projector = None
    config = make_config(encoder)
    config.provenance.update(provenance)
    save_release(folder, encoder, config)
    return str(folder)


def test_the_first_weights_are_the_release_s(recipe, images, tmp_path):
    folder = save(tmp_path / "release")
    engine = Engine(recipe, images, CPU, start_from(folder, recipe).encoder)
    stored = {k: v.half().float() for k, v in make_encoder().state_dict().items() if v.ndim > 1}
    state = engine.encoder.state_dict()
    assert stored and all(torch.equal(state[k], v) for k, v in stored.items())
    before = engine.encoder.backbone.conv1.weight.clone()
    engine.step(0)
    assert not torch.equal(before, engine.encoder.backbone.conv1.weight)


def test_a_projector_that_is_not_there_starts_anew_and_is_named(recipe, images, tmp_path):
    start = start_from(save(tmp_path / "release", projector=False), recipe)
    assert start.origin["started_anew"] == ["projector"]
    engine = Engine(recipe, images, CPU, start.encoder)
    engine.step(0)
    whole = start_from(save(tmp_path / "whole"), recipe)
    assert whole.origin["started_anew"] == []


def test_training_behind_it_is_counted_over_all_its_parts(recipe, tmp_path):
    before = {"steps": 5, "seconds": 10.0, "from": {"steps": 2, "seconds": 4.5}}
    folder = save(tmp_path / "release", **before)
    origin = start_from(folder, recipe).origin
    assert (origin["steps"], origin["seconds"]) == (7, 14.5)
    assert origin["sha256"] == open_release(tmp_path / "release").digest
    assert origin["name"] == "tiny"


def test_a_resumed_run_remembers_where_it_started(recipe, images, tmp_path):
    start = start_from(save(tmp_path / "release"), recipe)
    run = tmp_path / "run"
    run.mkdir()
    options = {"device": CPU, "report": lambda _: None}
    first = train(recipe, images, run, stop=lambda: True, start=start, **options)
    resumed = train(recipe, images, run, **options)
    assert first.origin == resumed.origin == start.origin
    assert json.loads(json.dumps(resumed.origin)) == start.origin


def test_another_network_is_refused_with_the_settings_that_fit(make_recipe, tmp_path):
    folder = save(tmp_path / "release")
    with pytest.raises(UsageError, match="width 4") as error:
        start_from(folder, make_recipe(encoder=TINY | {"width": 8}))
    assert "--set encoder.width=4" in str(error.value)
    assert "representation" not in str(error.value)


def test_what_is_no_release_is_refused(recipe, tmp_path):
    pickle = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1)}, pickle)
    with pytest.raises(UsageError, match="not a folder"):
        start_from(str(pickle), recipe)
    with pytest.raises(UnknownNameError):
        start_from("resnet18-cifar10-fre", recipe)
