"""Anybody's module as an encoder: what it may return, and one line where it cannot be one."""

import re
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from torch import nn

import cfamc_zoo
from cfamc_zoo.errors import DataError, ModelError, UsageError, ZooError

SIZE = 8
IMAGES = torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A linear layer, and what it makes of the vectors before it returns them."""

    def __init__(self, answer=lambda z: z):
        super().__init__()
        self.layer, self.answer = nn.Linear(3 * SIZE * SIZE, 6), answer

    def forward(self, x):
        return self.answer(self.layer(x.flatten(1)))


def tokens(z):
    return torch.stack((z, -z), 1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda z: z,
        lambda z: z[:, :, None, None],
        lambda z: (z,),
        lambda z: [tokens(z), z, "attention"],
        lambda z: {"features": z, "maps": tokens(z)},
        lambda z: {"last_hidden_state": tokens(z), "pooler_output": z},
        lambda z: SimpleNamespace(last_hidden_state=-z, pooler_output=z),
        lambda z: SimpleNamespace(image_embeds=z, pooler_output=-z),
    ],
    ids=["tensor", "pooled map", "tuple", "list", "mapping", "states", "transformers", "clip"],
)
def test_the_vector_is_found_in_what_a_module_returns(answer):
    net = Net(answer)
    encoder = cfamc_zoo.wrap(net, size=SIZE)
    assert torch.equal(encoder(IMAGES), net.layer(IMAGES.flatten(1)))
    assert encoder.architecture.dimensions == {"backbone": 6}


@pytest.mark.parametrize(
    ("module", "error", "said"),
    [
        (Net(tokens), ModelError, r"tokens.*x\[:, 0\], the class token"),
        (Net(lambda z: z.view(-1, 6, 1, 1).expand(-1, 6, 2, 2)), ModelError, r"x.mean\(\(2, 3\)\)"),
        (Net(lambda z: (z, z)), ModelError, r"a tuple of \[0\] \(1, 6\), \[1\] \(1, 6\)"),
        (Net(lambda z: {"a": tokens(z)}), ModelError, r"a dict of a \(1, 2, 6\)"),
        (Net(lambda z: None), ModelError, "a NoneType"),
        (Net(lambda z: z.sum()), ModelError, "one row an image"),
        (Net(lambda z: z.argmax(1)), ModelError, "int64"),
        (Net(lambda z: z / 0), ModelError, "not finite"),
        (Net().half(), ModelError, r"float16.*module.float\(\)"),
        (Net().to("meta"), ModelError, "meta device"),
        (nn.Linear(7, 2), ModelError, r"failed on images of shape \(1, 3, 8, 8\)"),
        (nn.Conv2d(1, 2, 3), ModelError, "no RGB"),
        (Net, UsageError, r"the class Net; give one of it, like Net\(\)"),
        (lambda x: x, UsageError, "is of type function"),
    ],
)
def test_what_is_no_encoder_is_refused_in_one_line(module, error, said):
    with pytest.raises(error, match=said) as refused:
        cfamc_zoo.wrap(module, size=SIZE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size is 0"),
        ({"mean": (0.5, 0.5)}, "three numbers"),
        ({"std": (1, 1, 0)}, "0.001 or more"),
    ],
)
def test_impossible_settings(wrong, said):
    with pytest.raises(UsageError, match=said):
        cfamc_zoo.wrap(Net(), **{"size": SIZE, **wrong})


def torchvision_resnet():
    return torchvision.models.resnet18(num_classes=7)


@pytest.mark.parametrize(
    ("make", "remedy", "width"),
    [
        (torchvision_resnet, "fc = torch.nn.Identity()", 512),
        (lambda: timm.create_model("test_resnet", num_classes=7), "reset_classifier(0)", 96),
    ],
    ids=["torchvision", "timm"],
)
def test_a_classifier_left_on_is_refused_and_the_line_takes_it_off(make, remedy, width):
    module = make()
    with pytest.raises(UsageError, match=f"^[^\n]*{re.escape(f'module.{remedy}')}[^\n]*$"):
        cfamc_zoo.wrap(module, size=32)
    logits = cfamc_zoo.wrap(nn.Sequential(module), size=32)
    assert logits.architecture.dimensions == {"backbone": 7}
    exec(f"module.{remedy}", {"module": module, "torch": torch})
    assert cfamc_zoo.wrap(module, size=32).architecture.dimensions == {"backbone": width}


def test_an_encoder_needs_no_wrapping():
    encoder = cfamc_zoo.wrap(Net(), size=SIZE)
    with pytest.raises(UsageError, match="already"):
        cfamc_zoo.wrap(encoder)


def test_normalization_is_a_layer():
    net = Net()
    encoder = cfamc_zoo.wrap(net, size=SIZE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    torch.testing.assert_close(encoder(IMAGES), net((IMAGES - mean) / std))


class InPlace(Net):
    def forward(self, x):
        return super().forward(x.mul_(2))


def test_what_works_in_place_leaves_the_images():
    before = IMAGES.clone()
    net = InPlace()
    assert torch.equal(cfamc_zoo.wrap(net, size=SIZE)(IMAGES), net.layer(2 * before.flatten(1)))
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.rand(2, 3, 9, 9), r"Net takes 8 x 8 pixels alone; resize them"),
        (torch.rand(2, 1, SIZE, SIZE), "RGB"),
        (torch.rand(2, SIZE, SIZE, 3), "channels come last"),
    ],
)
def test_other_images_are_refused(images, said):
    with pytest.raises(DataError, match=said):
        cfamc_zoo.wrap(Net(), size=SIZE)(images)


def test_a_module_without_weights_is_an_encoder_too():
    encoder = cfamc_zoo.wrap(nn.Flatten(), size=SIZE)
    assert torch.equal(encoder(IMAGES), IMAGES.flatten(1))
    labels = [0, 1] * 10
    images = torch.rand(20, 3, SIZE, SIZE)
    assert cfamc_zoo.probe(encoder, images, labels).settings.feature == "backbone"


def test_probe_and_attack_take_it(sample):
    encoder = cfamc_zoo.wrap(Net(), size=SIZE)
    found = cfamc_zoo.probe(encoder, sample.images[:60], sample.labels[:60])
    assert found.classifier.encoder.architecture.name == "Net"
    whole = nn.Sequential(encoder, found.head)
    result = cfamc_zoo.attack(whole, IMAGES, [0] * 5, steps=1)
    assert len(result.accuracies) == 2


@pytest.mark.parametrize(
    "store",
    [
        lambda encoder, folder: cfamc_zoo.save(encoder, folder),
        lambda encoder, folder: encoder.save_pretrained(folder),
        lambda encoder, folder: cfamc_zoo.push(encoder, "some/where"),
    ],
)
def test_it_cannot_be_stored_and_the_line_says_what_can(store, tmp_path):
    with pytest.raises(ZooError, match="timm:NAME") as refused:
        store(cfamc_zoo.wrap(Net(), size=SIZE), tmp_path / "release")
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())
