"""Checkpoints of others: the same features, every key accounted for, nothing executed."""

import json
import os

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import cfamc_zoo
from cfamc_zoo.errors import ReleaseError, UnknownNameError
from cfamc_zoo.export.legacy import import_checkpoint
from tests.conftest import make_encoder, randomize_batchnorm
from tests.hub.client import command

X = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Paper(nn.Module):
    """The public layout: names and order of layers as its checkpoints have them, but small."""

    def __init__(self, hidden=24, projection=8):
        super().__init__()
        self.backbone = resnet18()
        self.pre_feature = nn.Sequential(nn.Linear(512, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.projection = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, projection),
        )

    def forward(self, x):
        features = self.backbone(x)
        representation = self.pre_feature(features)
        return features, representation, F.normalize(self.projection(representation))


def resnet18():
    """torchvision's with the CIFAR stem."""
    network = torchvision.models.resnet18()
    network.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    network.maxpool, network.fc = nn.Identity(), nn.Identity()
    return network


@pytest.fixture(scope="module")
def paper():
    torch.manual_seed(0)
    network = Paper()
    randomize_batchnorm(network)
    return network.eval().requires_grad_(False)


def save(content, folder):
    torch.save(content, folder / "x.pt")
    return folder / "x.pt"


def test_the_papers_layout_gives_every_feature(paper, tmp_path):
    state = nn.DataParallel(paper).state_dict()
    assert next(iter(state)).startswith("module.")
    imported = import_checkpoint(save(state, tmp_path), "cf-amc-ssl")
    assert imported.left_out == ()
    names = ("backbone", "representation", "projection")
    for name, expected in zip(names, paper(X), strict=True):
        torch.testing.assert_close(imported.encoder(X, name), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["torchvision", "timm", "solo-learn"])
def test_plain_networks_repeat_their_features_as_representation(paper, tmp_path, layout):
    prefix = "backbone." if layout == "solo-learn" else ""
    head = "projector.0.weight" if layout == "solo-learn" else "fc.weight"
    state = {f"{prefix}{k}": v for k, v in paper.backbone.state_dict().items()}
    state[head] = torch.zeros(2, 512)
    content = {"state_dict": state} if layout == "solo-learn" else state
    imported = import_checkpoint(save(content, tmp_path), layout, normalization="none")
    assert imported.left_out == (head,)
    expected = paper.backbone(X)
    for name in ("backbone", "representation"):
        torch.testing.assert_close(imported.encoder(X, name), expected, rtol=1e-4, atol=1e-5)


def test_normalization_becomes_a_layer(paper, tmp_path):
    imported = import_checkpoint(save(paper.backbone.state_dict(), tmp_path), "torchvision")
    mean, std = imported.encoder.preprocess.mean, imported.encoder.preprocess.std
    shifted = (X - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(imported.encoder(X), paper.backbone(shifted), rtol=1e-4, atol=1e-5)


def test_keys_that_do_not_belong_are_named(paper, tmp_path):
    state = paper.state_dict()
    with pytest.raises(ReleaseError, match="1 keys of no such layout: surprise"):
        import_checkpoint(save({**state, "surprise": torch.zeros(1)}, tmp_path), "cf-amc-ssl")
    with pytest.raises(ReleaseError, match="give another --layout"):
        import_checkpoint(save(state, tmp_path), "torchvision")
    twice = {**state, "module.backbone.bn1.bias": torch.zeros(64)}
    with pytest.raises(ReleaseError, match=r"has backbone\.bn1\.bias twice"):
        import_checkpoint(save(twice, tmp_path), "cf-amc-ssl")
    del state["backbone.layer4.1.bn2.bias"]
    with pytest.raises(ReleaseError, match="does not fit"):
        import_checkpoint(save(state, tmp_path), "cf-amc-ssl")
    with pytest.raises(UnknownNameError, match="did you mean torchvision"):
        import_checkpoint(save(state, tmp_path), "torchvison")


class Exploit:
    def __reduce__(self):
        return (os.mkdir, ("exploited",))


@pytest.mark.parametrize(
    "content",
    [{"a": Exploit()}, nn.Linear(1, 1), [1], {}, {"a": 1}, {1: torch.zeros(1)}],
    ids=["exploit", "module", "list", "empty", "number", "key"],
)
def test_what_is_no_state_dict_is_refused_and_not_executed(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReleaseError):
        import_checkpoint(save(content, tmp_path), "torchvision")
    (tmp_path / "x.pt").write_bytes(b"no archive")
    with pytest.raises(ReleaseError, match="nothing of it was executed"):
        import_checkpoint(tmp_path / "x.pt", "torchvision")
    assert not (tmp_path / "exploited").exists()


def papers_names(encoder):
    """A narrow encoder's tensors as the paper's code would name them."""
    parts = {"representation.": "pre_feature.", "projector.0.": "projection."}
    parts["projector.1."] = "projection.3."
    state = {}
    for key, value in encoder.state_dict().items():
        old = next((part for part in parts if key.startswith(part)), "")
        state["module." + parts.get(old, "") + key.removeprefix(old)] = value
    return state


def test_from_the_command_line(tmp_path):
    encoder = make_encoder()
    file, out = save(papers_names(encoder), tmp_path), tmp_path / "release"
    arguments = ("export", file, "-o", out)
    refused = command("http://127.0.0.1:9", tmp_path, *arguments, code=2)
    assert "say with --layout what wrote it" in refused.stderr
    command("http://127.0.0.1:9", tmp_path, *arguments, "--layout", "cf-amc-ssl")
    stored = cfamc_zoo.load(str(out))(X).numpy()
    np.testing.assert_allclose(stored, encoder(X).numpy(), rtol=2e-2, atol=2e-2)
    config = json.loads((out / "config.json").read_text())
    assert config["provenance"]["imported"] == {"layout": "cf-amc-ssl", "left_out": []}
    rows = json.loads((out / "results.json").read_text())
    assert {(r["feature"], r["n"]) for r in rows} == {("backbone", 256), ("representation", 256)}
    assert all(0 < r["value"] <= r["limit"] for r in rows)
    assert "imported from a checkpoint of cf-amc-ssl" in (out / "README.md").read_text()
