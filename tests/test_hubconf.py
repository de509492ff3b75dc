"""torch.hub finds the models in a checkout."""

from pathlib import Path

import torch

import cfamc_zoo

ROOT = Path(__file__).parents[1]
NAME = "resnet18-thin-cifar10-free"


def test_torch_hub_loads_an_encoder_and_a_classifier():
    images = torch.rand(2, 3, 32, 32)
    for entry, ours in (("encoder", cfamc_zoo.load), ("classifier", cfamc_zoo.load_classifier)):
        theirs = torch.hub.load(str(ROOT), entry, name=NAME, source="local")
        assert torch.equal(theirs(images), ours(NAME)(images))
