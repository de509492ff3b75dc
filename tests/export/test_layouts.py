"""Checkpoints as programs of self-supervised learning write them: every key accounted for."""

import argparse
import json
from pathlib import Path

import pytest
import torch

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.export.foreign import LAYOUTS, import_checkpoint
from cfamc_zoo.export.timm_models import import_network
from tests.conftest import make_encoder

ENCODER = make_encoder()
NAMED = {
    k.removeprefix("backbone."): v
    for k, v in ENCODER.state_dict().items()
    if k.startswith("backbone.")
}
CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
NUMBERED = {}
for key, value in NAMED.items():
    child, _, rest = key.partition(".")
    NUMBERED[f"{CHILDREN.index(child)}.{rest}"] = value
X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Z = torch.zeros(3, 2)
CONTAINERS = {"state_dict", "teacher", "online_network", "online_network_state_dict"}
SHORTCUT = {key.replace("downsample", "shortcut"): value for key, value in NAMED.items()}
NAMES = {"named": NAMED, "numbered": NUMBERED, "shortcut": SHORTCUT}
# Keys of state dicts that the programs wrote themselves, around torchvision's ResNet-18.
WRITTEN = json.loads((Path(__file__).parent / "layouts.json").read_text())


def under(prefix, state=NAMED):
    return {prefix + key: value for key, value in state.items()}


def other(prefix, state=NAMED):
    """A second copy, with other weights."""
    return under(prefix, {k: v + 1 if v.is_floating_point() else v for k, v in state.items()})


def left(*names):
    return dict.fromkeys(names, Z)


CHECKPOINTS = {  # the layout, what is taken, what is left out, and what the file is
    "lightly, numbered": (
        "lightly",
        under("backbone.", NUMBERED),
        left("projection_head.layers.0.weight", "prediction_head.layers.0.weight", "criterion.c"),
        lambda state: {"state_dict": state, "epoch": 3},
    ),
    "lightly, named, with an online classifier": (
        "lightly",
        under("backbone."),
        left("projection_head.layers.0.weight", "online_classifier.weight", "backbone.fc.weight"),
        lambda state: {"state_dict": state},
    ),
    "lightly, MoCo of its examples": (
        "lightly",
        under("backbone.", NUMBERED),
        other("backbone_momentum.", NUMBERED) | left("projection_head_momentum.layers.0.weight"),
        lambda state: state,
    ),
    "lightly, MoCo of its benchmarks": (
        "lightly",
        under("backbone."),
        other("query_backbone.") | left("query_projection_head.layers.0.weight", "queue"),
        lambda state: {"state_dict": state},
    ),
    "lightly, DINO of its examples": (
        "lightly",
        under("teacher_backbone.", NUMBERED),
        other("student_backbone.", NUMBERED) | left("student_head.last.weight", "teacher_head.w"),
        lambda state: {"state_dict": state},
    ),
    "lightly, the backbone alone": ("lightly", NUMBERED, {}, lambda state: state),
    "DINO, the teacher of a checkpoint": (
        "dino",
        under("backbone."),
        left("head.mlp.0.weight", "head.last_layer.weight_g"),
        lambda state: {
            "student": other("module.backbone."),
            "teacher": state,
            "optimizer": {"state": {0: {"exp_avg": Z}}},
            "dino_loss": {"center": Z},
            "epoch": 3,
            "args": argparse.Namespace(arch="resnet18", out_dim=2),
        },
    ),
    "DINO, both in one state dict": (
        "dino",
        under("teacher.backbone."),
        other("student.backbone.") | left("teacher.head.mlp.0.weight", "student.head.w"),
        lambda state: state,
    ),
    "BYOL, a learner around a network": (
        "byol",
        under("net."),
        under("online_encoder.net.")
        | other("target_encoder.net.")
        | left("online_encoder.projector.0.weight", "online_predictor.0.weight"),
        lambda state: state,
    ),
    "BYOL, two networks": (
        "byol",
        under("encoder.", NUMBERED),
        left("projetion.net.0.weight"),
        lambda state: {
            "online_network_state_dict": state,
            "target_network_state_dict": other("encoder.", NUMBERED),
            "optimizer_state_dict": {"state": {}},
        },
    ),
    "BYOL, two networks under their own names": (
        "byol",
        under("encoder."),
        left("projector.0.weight"),
        lambda state: {"online_network": state, "target_network": other("encoder.")},
    ),
    "MoCo": (
        "moco",
        under("module.encoder_q."),
        other("module.encoder_k.")
        | left("module.encoder_q.fc.0.weight", "module.queue", "module.queue_ptr"),
        lambda state: {"state_dict": state, "arch": "resnet18", "epoch": 3},
    ),
    "MoCo v3": (
        "moco",
        under("module.base_encoder."),
        other("module.momentum_encoder.") | left("module.predictor.0.weight"),
        lambda state: {"state_dict": state},
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_right_network_is_read_and_all_else_is_named(name, tmp_path):
    layout, taken, beside, file = CHECKPOINTS[name]
    torch.save(file({**beside, **taken}), tmp_path / "x.pt")
    imported = import_checkpoint(tmp_path / "x.pt", layout, normalization="none")
    torch.testing.assert_close(imported.encoder(X), ENCODER(X), rtol=1e-4, atol=1e-5)
    around = set(file({})) - CONTAINERS
    assert set(imported.left_out) == set(beside) | around


@pytest.mark.parametrize("program", WRITTEN)
def test_what_a_program_wrote_is_read_to_the_last_key(program, tmp_path):
    told = WRITTEN[program]
    network = NAMES[told["names"]]
    state = under(told["taken"], network) | left(*told["beside"])
    for prefix in told["copies"]:
        state = other(prefix, network) | state
    torch.save({"state_dict": state}, tmp_path / "x.pt")
    imported = import_checkpoint(tmp_path / "x.pt", told["layout"], normalization="none")
    torch.testing.assert_close(imported.encoder(X), ENCODER(X), rtol=1e-4, atol=1e-5)
    assert set(imported.left_out) == set(state) - set(under(told["taken"], network))


def test_a_sequential_that_lost_a_relu_is_no_resnet(tmp_path):
    """lightly's own network, of whose children it makes one: conv1, bn1, layer1 to layer4."""
    children = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    state = {}
    for key, value in SHORTCUT.items():
        child, _, rest = key.partition(".")
        state[f"backbone.{children.index(child)}.{rest}"] = value
    torch.save({"state_dict": state}, tmp_path / "x.pt")
    with pytest.raises(ReleaseError, match="^[^\n]*without the ReLU[^\n]*module:factory`$"):
        import_checkpoint(tmp_path / "x.pt", "lightly")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_key_of_no_layout_is_refused(layout, tmp_path):
    torch.save({**NAMED, "a.surprise": Z}, tmp_path / "x.pt")
    with pytest.raises(ReleaseError, match=r"keys of no such layout.*surprise"):
        import_checkpoint(tmp_path / "x.pt", layout)


def test_another_layout_is_offered(tmp_path):
    torch.save(under("module.encoder_q."), tmp_path / "x.pt")
    with pytest.raises(ReleaseError, match="they are of moco"):
        import_checkpoint(tmp_path / "x.pt", "torchvision")


def test_a_vision_transformer_of_dino_is_one_of_timms(tmp_path):
    settings = ["img_size=32", "patch_size=16"]
    expected = import_network("vit_tiny_patch16_224", weights="random", settings=settings)
    state = under("module.", expected.encoder.state_dict()) | left("module.head.mlp.0.weight")
    torch.save({"student": {}, "teacher": state, "epoch": 1}, tmp_path / "x.pt")
    found = import_network(
        "vit_tiny_patch16_224", weights=str(tmp_path / "x.pt"), settings=settings
    )
    assert set(found.left_out) == {"module.head.mlp.0.weight", "student", "epoch"}
    torch.testing.assert_close(found.encoder(X), expected.encoder(X))
