"""A family is a class and a line of a table: nothing else has to know of it."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import ReleaseError, UnknownNameError, UsageError
from cfamc_zoo.export.card import render_body
from cfamc_zoo.export.release import export_release
from cfamc_zoo.training.recipe import load_recipe
from cfamc_zoo.training.start import start_from
from cfamc_zoo.zoo.catalogue.entry import entry_of
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector
from cfamc_zoo.zoo.network.families.architecture import Architecture
from cfamc_zoo.zoo.network.families.known import FAMILIES, architecture_from
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import CONFIG, open_release
from tests.conftest import make_config, make_encoder


@dataclass(frozen=True)
class Squares(Architecture):
    """Means of what one convolution gives, squared."""

    channels: int = 5

    family = "squares"
    layers = f"{__name__}:make_layers"

    @property
    def name(self):
        return "squares"

    @property
    def title(self):
        return "A network of squares"

    @property
    def details(self):
        return f"{self.channels} channels", "one layer"

    @property
    def dimensions(self):
        return {"backbone": self.channels}

    @property
    def activations(self):
        return self.channels


class Squared(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)

    def forward(self, x):
        return torch.mul(*[self.conv(x)] * 2).mean((2, 3))


def make_layers(architecture):
    return {"backbone": Squared(architecture.channels)}


@pytest.fixture(scope="module")
def squares(tmp_path_factory, sample):
    folder = tmp_path_factory.mktemp("squares") / "some"
    FAMILIES[Squares.family] = Squares
    torch.manual_seed(0)
    encoder = Encoder(Squares(), preprocess=Preprocess(size=16)).eval().requires_grad_(False)
    config = replace(make_config(encoder, "some"), preprocess=encoder.preprocess, recipe={})
    export_release(encoder, config, folder, images=sample.images[:8], data="cifar10-sample")
    yield folder
    del FAMILIES[Squares.family]


def test_a_new_family_is_released_and_used_like_any_other(squares, sample, capsys):
    assert json.loads((squares / CONFIG).read_text())["architecture"] == {
        "family": "squares",
        "channels": 5,
    }
    images = sample.images[:3]
    by_onnx = cfamc_zoo.embed(images, model=str(squares))
    by_torch = cfamc_zoo.embed(images, model=str(squares), backend="torch")
    assert by_onnx.shape == (3, 5)
    np.testing.assert_allclose(by_onnx, by_torch, rtol=1e-4, atol=1e-6)
    release = open_release(squares)
    card = render_body(release)
    assert "A network of squares (`squares`, 5 channels, one layer), how it was made" in card
    assert "Features: `backbone` (5 values).\n" in card and "representation" not in card
    assert run(["info", str(squares)]) == 0
    shown = capsys.readouterr().out
    assert "squares, 5 channels, one layer" in shown and "backbone 5\n" in shown
    spec = entry_of(release, repo="some/thing", revision="main")
    assert spec.title.startswith("A network of squares, ")
    assert architecture_from(spec.architecture) == Squares()


def test_what_a_network_does_not_have_is_missing_and_not_faked(squares, sample):
    encoder = cfamc_zoo.load(str(squares))
    for call in (
        lambda: cfamc_zoo.embed(sample.images[:1], model=str(squares), features="representation"),
        lambda: encoder(torch.zeros(1, 3, 16, 16), "representation"),
        lambda: build_projector(encoder.architecture),
    ):
        with pytest.raises(UsageError, match=r"^squares has no \w+; it has backbone$"):
            call()
    with pytest.raises(UnknownNameError, match="unknown feature 'head'"):
        encoder(torch.zeros(1, 3, 16, 16), "head")


def test_a_head_reads_what_there_is(squares, sample):
    probe = cfamc_zoo.probe(str(squares), sample.images[:60], sample.labels[:60])
    assert probe.settings.feature == "backbone"


def test_operators_are_the_familys_own(squares, monkeypatch):
    monkeypatch.setattr(Squares, "operators", Squares.operators - {"Mul"})
    with pytest.raises(ReleaseError, match="operator ':Mul', which no encoder needs"):
        open_session(open_release(squares), "backbone")


def test_a_run_does_not_start_from_another_family(squares):
    with pytest.raises(UsageError, match="is of the family squares, and training makes resnet"):
        start_from(str(squares), load_recipe("cf-amc-ssl"))


def test_a_config_that_names_no_family_is_a_resnets_and_stays_as_it_is():
    content = (bundled_folder(default_model()) / CONFIG).read_text()
    values = json.loads(content)
    config = ReleaseConfig.from_json(values)
    assert isinstance(config.architecture, ResNetArchitecture)
    assert json.dumps(config.to_json(), indent=2) == content.rstrip("\n")
    named = {**values["architecture"], "family": "resnet"}
    assert ReleaseConfig.from_json({**values, "architecture": named}) == config


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("resnett", "unknown family of networks 'resnett'; did you mean resnet\\?;.*, or upgrade"),
        (3, "family is 3; it must be one of resnet"),
        (None, "family is None"),
    ],
)
def test_an_unknown_family(family, said):
    values = make_config(make_encoder()).to_json()
    values["architecture"]["family"] = family
    with pytest.raises(ReleaseError, match=f"config.json: {said}"):
        ReleaseConfig.from_json(values)


@pytest.mark.parametrize(
    ("width", "device", "layout"),
    [
        (4, "cpu", "contiguous_format"),
        (8, "cpu", "channels_last"),
        (4, "cuda", "channels_last"),
    ],
)
def test_narrow_resnets_lie_plainly_on_a_cpu(width, device, layout):
    assert ResNetArchitecture(width=width).layout(device) == layout
