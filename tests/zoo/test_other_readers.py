"""Others' code reads a release: safetensors and a ResNet-18 that is not ours."""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import resnet18

from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.release.folder import MODEL
from cfamc_zoo.zoo.release.loading import save_release
from tests.conftest import make_config, randomize_batchnorm

ROOT = Path(__file__).parents[2]
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def timm_names():
    """Of `timm.create_model("resnet18", num_classes=0)`, timm 1.0, which are torchvision's."""
    names = {"conv1.weight", *(f"bn1.{n}" for n in NORM)}
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            for i in (1, 2):
                names.add(f"layer{layer}.{block}.conv{i}.weight")
                names |= {f"layer{layer}.{block}.bn{i}.{n}" for n in NORM}
        if layer > 1:
            names.add(f"layer{layer}.0.downsample.0.weight")
            names |= {f"layer{layer}.0.downsample.1.{n}" for n in NORM}
    return names


def test_the_readmes_lines_fill_a_resnet18_that_is_not_ours(tmp_path, monkeypatch):
    torch.manual_seed(0)
    ours = Encoder(ResNetArchitecture(representation=16, projection=8))
    randomize_batchnorm(ours)
    save_release(tmp_path / "release", ours, make_config(ours))
    stored = load_file(tmp_path / "release" / MODEL)
    mapped = {k.removeprefix("backbone.") for k in stored if k.startswith("backbone.")}
    assert mapped == timm_names()

    (code,) = re.findall(r"```python\n(import timm.*?)```", (ROOT / "README.md").read_text(), re.S)

    class Timm:
        @staticmethod
        def create_model(name, *, pretrained, num_classes):
            assert (name, pretrained, num_classes) == ("resnet18", False, 0)
            model = resnet18(weights=None)
            model.fc = nn.Identity()
            return model

    monkeypatch.chdir(tmp_path / "release")
    variables = {"timm": Timm, "folder": "."}
    exec(code.replace("import timm\n", ""), variables)
    ours.load_state_dict({k: v.float() for k, v in stored.items()})
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        expected, found = ours.eval()(x), variables["model"].eval()(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
