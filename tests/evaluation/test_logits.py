"""What a model answers, and what it may do with the images that it is given."""

from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn

import cfamc_zoo
from cfamc_zoo.errors import ModelError, UsageError
from cfamc_zoo.evaluation.attacks.apgd import Apgd
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.features import evaluate_features
from cfamc_zoo.zoo.threat import Linf
from tests.conftest import make_encoder
from tests.evaluation.attacks.models import Affine, Convolutional, own_labels, some_images

Named = namedtuple("Named", ["logits", "other"])
EVERYTHING = Ensemble("all", (Pgd(3), Apgd(steps=3), FabTargeted(3), Square(5)))


class Answering(nn.Module):
    """What a function makes of a network's logits."""

    def __init__(self, make):
        super().__init__()
        self.network, self.make = Affine(), make

    def forward(self, x):
        return self.make(self.network(x))


def attack(model, images=None, labels=None, **options):
    images = some_images(4) if images is None else images
    labels = torch.zeros(len(images)) if labels is None else labels
    return cfamc_zoo.attack(model, images, labels, **{"attack": Pgd(2), "eps": 0.01, **options})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda z: z[:, :1], "1 logit an image; two logits are needed; wrap it"),
        (lambda z: z[:, 0], "two logits are needed"),
        (lambda z: (z, 1), "returned tuple for 1 images"),
        (lambda z: [z], "returns model(images)[0]"),
        (lambda z: {"loss": 0.0, "out": z}, "returns model(images)['out']"),
        (lambda z: Named(z, z), "returns model(images).logits"),
        (lambda z: None, "returned NoneType"),
        (lambda z: z.detach().numpy(), "as a torch tensor"),
        (lambda z: z[:, :, None], "returns model(images).flatten(1)"),
        (lambda z: z[:, :, None].repeat(1, 1, 2), "one row an image"),
        (lambda z: z.squeeze(), "name the dimension in squeeze"),
        (lambda z: z.argmax(1), "returned int64 (1,)"),
        (lambda z: z.long(), "floating point, before any argmax"),
        (lambda z: z / 0, "not finite for 1 of 1 images"),
    ],
)
def test_an_answer_that_is_no_logits_is_named_with_what_to_write(make, said):
    with pytest.raises(ModelError) as raised:
        attack(Answering(make))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_remedy_for_one_logit_works():
    class Two(nn.Module):
        def forward(self, x):
            z = Affine()(x)[:, :1]
            return torch.cat((0 * z, z), 1)

    model = Two()
    images = some_images()
    result = attack(model, images, own_labels(model, images), eps=0.05)
    assert result.accuracies[0].value == 100
    assert result.accuracies[-1].value < 100


def test_logits_in_half_precision_are_taken():
    images = some_images()
    model = Answering(lambda z: z.half())
    assert attack(model, images, own_labels(model, images)).accuracies[0].value == 100


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (Affine().half(), ModelError, "weights are float16: give model.float()"),
        (nn.Linear(3, 3, device="meta"), ModelError, "meta device"),
        (Affine, UsageError, "give one of it, like Affine()"),
        (lambda x: x, UsageError, "wrap a function in one"),
        (None, UsageError, "of type NoneType"),
        (make_encoder(), UsageError, "encoder, which has no classes"),
        (nn.Conv2d(3, 5, 1), ModelError, "these look like (N, H, W, C)"),
    ],
)
def test_what_is_no_classifier(model, error, said):
    images = torch.rand(2, 8, 6, 3) if isinstance(model, nn.Conv2d) else None
    with pytest.raises(error) as raised:
        attack(model, images)
    assert said in str(raised.value)


class InPlace(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.network, self.change = Convolutional(), change

    def forward(self, x):
        return self.network(self.change(x))


IN_PLACE = [
    lambda x: x.sub_(0.5).div_(0.25),
    lambda x: x.clamp_(0.2, 0.8),
    lambda x: nn.functional.relu(x, inplace=True),
    lambda x: x.view(len(x), -1).sub_(0.5).view(x.shape),  # takes one layout of memory alone
]


@pytest.mark.parametrize("change", IN_PLACE)
def test_a_model_that_works_in_place_is_attacked_like_one_that_does_not(change):
    images = some_images(16)
    model, plain = InPlace(change), InPlace(lambda x: change(x.clone()))
    labels, kept = own_labels(plain, images), images.clone()
    found, expected = (attack(m, images, labels, attack=EVERYTHING) for m in (model, plain))
    assert torch.equal(images, kept)
    assert [a.correct for a in found.accuracies] == [a.correct for a in expected.accuracies]
    assert (found.adversarial == expected.adversarial).all()
    assert 0 < found.accuracies[-1].value < 100


def test_a_gradient_that_work_in_place_has_spoilt_is_named():
    def spoil(z):
        values = z.sigmoid()
        values.mul_(values)
        return values

    model, images = Answering(spoil), some_images(4)
    with pytest.raises(ModelError, match="changes values in place"):
        attack(model, images, own_labels(model, images))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_modes_of_the_caller_do_not_weaken_the_attack(mode):
    model, images = Convolutional(), some_images()
    labels = own_labels(model, images)
    expected = attack(model, images, labels)
    with mode():
        found = attack(Convolutional(), images.clone(), labels)
        assert not torch.is_grad_enabled()
    assert found.accuracies[-1].correct == expected.accuracies[-1].correct
    assert expected.accuracies[-1].value < 100


def test_every_answer_is_in_float32_whatever_the_caller_allows_a_gpu(monkeypatch):
    """TF32 has 10 bits; by default convolutions on a GPU take it."""
    seen = set()

    def look(z):
        seen.add((torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()))
        return z

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        images = some_images(4)
        attack(Answering(look), images, own_labels(Affine(), images))
        assert seen == {(False, "highest")}
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_random_state_stays_and_a_model_that_draws_does_so_from_the_seed():
    model, images = Answering(lambda z: z + 0.02 * torch.randn_like(z)), some_images(40)
    labels = own_labels(Affine(), images)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = attack(model, images, labels)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = attack(model, images, labels)
    assert 0 < first.accuracies[-1].value < 100
    assert (first.adversarial == second.adversarial).all()
    assert [a.correct for a in first.accuracies] == [a.correct for a in second.accuracies]


def test_statistics_of_layers_that_stay_in_training_mode_are_given_back():
    class Stuck(Convolutional):
        def train(self, mode=True):
            return super().train(True)

    model = Stuck()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attack(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_output_of_a_library_with_logits_of_its_own():
    class Output(OrderedDict):
        logits = property(lambda self: self["logits"])

    with pytest.raises(ModelError, match=r"model\(images\)\.logits"):
        attack(Answering(lambda z: Output(logits=z)))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_defaults_of_the_caller_change_nothing(norm):
    model, images = Convolutional(), some_images(8)
    labels = own_labels(model, images)
    options = {"attack": EVERYTHING, "norm": norm, "eps": 0.02}
    expected = attack(model, images, labels, **options)
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        found = attack(model, images, labels, **options)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert [a.correct for a in found.accuracies] == [a.correct for a in expected.accuracies]
    assert abs(found.adversarial - expected.adversarial).max() < 1e-5


def test_the_defaults_of_the_caller_do_not_change_the_attack_on_features():
    encoder, images = make_encoder(), torch.rand(5, 3, 16, 16)

    def run():
        found = evaluate_features(encoder, images, FeatureAttack(steps=2), [Linf(0.02)])
        return [result.push_quantiles for result in found]

    expected = run()
    with torch.device("meta"):
        assert run() == expected
