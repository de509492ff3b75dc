"""The copy that attacks search on: as fast as the model allows, and never another function."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from cfamc_zoo.evaluation.attacks.apgd import Apgd
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.evaluation.victim.model import Victim
from cfamc_zoo.evaluation.victim.search_copy import search_copy_of
from cfamc_zoo.zoo.threat import Linf, threat_of
from tests.evaluation.attacks.models import Convolutional, own_labels, some_images

CLASSES = 5


@pytest.fixture
def images():
    return some_images()


class Viewing(Convolutional):
    """As most networks of papers: `view` takes the usual layout of memory alone."""

    def forward(self, x):
        features = F.relu(self.bn1(self.conv1(x)))
        return 3 * self.head(features.view(len(x), -1))


class Turned(torch.autograd.Function):
    """Its gradient wants the usual layout."""

    @staticmethod
    def forward(ctx, x):
        return -x

    @staticmethod
    def backward(ctx, gradient):
        return -gradient.view(-1).view(gradient.shape)


class TurnedNetwork(Convolutional):
    def forward(self, x):
        return super().forward(Turned.apply(x))


class StandardizedConv(nn.Conv2d):
    """Not its weights, but a function of them: folding changes it."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class Standardized(Convolutional):
    def __init__(self):
        super().__init__()
        self.conv1 = StandardizedConv(3, 16, 3, padding=1)


class Normalized(Convolutional):
    def __init__(self):
        super().__init__()
        parametrizations.spectral_norm(self.conv1)
        self.eval()


class Preactivated(Convolutional):
    """bn2 before conv2, as in pre-activation networks, whose names say the opposite."""

    def __init__(self):
        super().__init__()
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        nn.init.uniform_(self.bn2.running_var, 0.2, 2)
        self.eval()

    def forward(self, x):
        x = self.bn1(self.conv1(x))
        return self.head(self.conv2(F.relu(self.bn2(x))).flatten(1))


class Shared(Convolutional):
    """One BatchNorm for two convolutions."""

    def __init__(self):
        super().__init__()
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.bn2 = self.bn1

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.head(F.relu(self.bn2(self.conv2(x))).flatten(1))


class Locked(Convolutional):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Detached(Convolutional):
    """Has no gradient, as with another runtime behind it."""

    def forward(self, x):
        return super().forward(x).detach()


class Rooted(Convolutional):
    """Has a gradient that is no number, at pixels of zero."""

    def forward(self, x):
        return super().forward(x.square().sqrt())


class Counted(TorchDispatchMode):
    """How often an operator runs inside."""

    def __init__(self, operator):
        super().__init__()
        self.operator, self.count = operator, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is self.operator
        return func(*args, **(kwargs or {}))


KINDS = (
    Convolutional, Viewing, TurnedNetwork, Standardized, Normalized, Preactivated, Shared,
    Locked, Detached,
)  # fmt: skip
ATTACKS = (Pgd(steps=3), Apgd("ce", steps=3), FabTargeted(steps=3), Square(queries=5))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_function_with_the_same_gradient(kind, images):
    model = kind().eval()
    search = search_copy_of(model, images[:8], model(images[:8]).detach(), torch.float32)
    exact = model(images).detach()
    found = []
    for network in (model, search):
        points = images.clone().requires_grad_()
        logits = network(points)
        if logits.requires_grad:
            logits = logits, torch.autograd.grad(logits.square().sum(), points)[0]
        found.append(logits)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        for weights in search.model.parameters():
            weights.zero_()
        touched = not torch.equal(model(images), exact)
    assert touched == (kind is Locked), "what is done to a copy is not done to the model"


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
@pytest.mark.parametrize("kind", [Viewing, TurnedNetwork, Locked, Detached, Rooted])
def test_every_attack_takes_any_network(kind, attack, norm, images):
    """And channels-last images, as they come from a decoder."""
    model = kind().eval()
    labels = own_labels(model, images)
    images = images.contiguous(memory_format=torch.channels_last)
    rows = evaluate(model, Examples(images, labels, CLASSES), attack, [threat_of(norm, "1")])
    assert rows[0].value == 100
    alone = kind is Detached and isinstance(attack, FabTargeted)  # neither gradients nor draws
    assert (rows[-1].value == 100) == alone


def scripted(model, example):
    return torch.jit.script(model)


def traced(model, example):
    return torch.jit.trace(model, example)


def in_parallel(model, example):
    return nn.DataParallel(model)


def exported(model, example):
    batch = {0: torch.export.Dim("batch", min=1)}
    return torch.export.export(model, (example,), dynamic_shapes=(batch,)).module()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("wrap", [scripted, traced, in_parallel, exported])
def test_wrapped_networks_fall_as_the_network_itself(wrap, images):
    model = Convolutional()
    data = Examples(images, own_labels(model, images), CLASSES)
    verdicts = [
        evaluate(network, data, Pgd(), [Linf.of("2/255")])[1]
        for network in (model, wrap(model, images[:4]))
    ]
    assert 0 < verdicts[0].value < 100
    assert verdicts[1].value == pytest.approx(verdicts[0].value, abs=2.6)


def test_verdicts_come_in_a_layout_that_the_model_answers_alike(images):
    class ByAddress(Convolutional):
        """Reads memory without asking for its layout: another answer, no error."""

        def forward(self, x):
            side = x.shape[-1]
            strides = (3 * side * side, side * side, side, 1)
            return super().forward(x.as_strided(x.shape, strides))

    layouts = {
        Convolutional: torch.channels_last,
        Viewing: torch.contiguous_format,  # an error in the other one
        ByAddress: torch.contiguous_format,
    }
    turned = images.contiguous(memory_format=torch.channels_last)
    for make, layout in layouts.items():
        model = make().eval()
        victim = Victim(model, images[:8], CLASSES)
        assert victim.layout == layout
        for given in (images, turned):
            torch.testing.assert_close(victim.logits(given), model(images), rtol=1e-4, atol=1e-4)


def test_folding_never_changes_what_is_attacked(images):
    """conv1 and bn1 by name, but not one after the other: the copy must not be folded."""

    class Misleading(Convolutional):
        def forward(self, x):
            return 3 * self.head(self.bn1(F.relu(self.conv1(x))).flatten(1))

    for model in (Convolutional().eval(), Misleading().eval()):
        victim = Victim(model, images[:8], CLASSES, precision=torch.float32)
        torch.testing.assert_close(
            victim.search_logits(images), model(images), rtol=1e-3, atol=1e-3
        )
        with Counted(torch.ops.aten.native_batch_norm.default) as normalizations, torch.no_grad():
            victim.search_logits(images)
        assert (normalizations.count == 0) == (type(model) is Convolutional)


def test_a_lower_precision_is_used_only_where_it_changes_little(images):
    class Deep(nn.Module):
        def __init__(self, scale):
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3),
                nn.Flatten(),
                nn.Linear(128, CLASSES),
            )
            self.scale = scale

        def forward(self, x):
            return torch.sin(self.scale * self.layers(x))

    plain, touchy = (
        Victim(Deep(scale).eval(), images[:8], CLASSES, precision=torch.bfloat16)
        for scale in (1, 1e5)
    )
    assert plain.search.precision == torch.bfloat16
    assert touchy.search.precision == torch.float32
    exact = plain.logits(images)
    error = (plain.search_logits(images) - exact).abs().max()
    assert 0 < error < 0.02 * exact.abs().max()
