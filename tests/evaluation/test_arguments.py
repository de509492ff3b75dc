"""What attacks are given: taken in every form with one meaning, else refused in one line."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from cfamc_zoo.errors import DataError, UnknownNameError, UsageError
from cfamc_zoo.evaluation.arguments import images_of, labels_of, norm_of, threats_of, whole
from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.settings import attack_of
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.features import evaluate_features
from cfamc_zoo.zoo.threat import L2, NORMS, Linf
from tests.conftest import make_encoder

X = torch.rand(6, 3, 5, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 4, 2, 1, 3, 0])


def labels(y):
    return labels_of(y, count=6, classes=5, device=torch.device("cpu"))


@pytest.mark.parametrize(
    "given",
    [
        *(Y, Y[:, None], Y.int(), Y.byte(), Y.float(), Y.half(), Y[:, None, None]),
        *(one_hot(Y, 5), one_hot(Y, 5).float(), one_hot(Y, 5).bool()),
        *(Y.numpy(), Y.tolist(), tuple(Y.tolist()), list(Y), Y.tolist() + 0 * Y.numpy()),
        *(Y.numpy().astype(">i8"), Y.numpy().astype("u2"), Y.numpy()[::-1].copy()[::-1]),
        Y.float().requires_grad_(),
    ],
    ids=lambda g: f"{type(g).__name__}-{getattr(g, 'dtype', '')}-{getattr(g, 'shape', '')}",
)
def test_labels_of_every_form(given):
    found = labels(given)
    assert found.dtype == torch.int64
    assert torch.equal(found, Y)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Y + 0.5, "labels hold 0.5; they must be whole numbers"),
        (Y * float("nan"), "labels hold nan"),
        (torch.full((6,), float("inf")), "labels hold inf"),
        (Y + 1, "labels are in 1..5; the model knows 0..4 (labels that count from 1"),
        (Y - 1, "labels are in -1..3; the model knows 0..4"),
        (torch.zeros(6, 4), "labels have shape (6, 4); give (6,) class numbers"),
        (torch.ones(6, 5), "are not one-hot"),
        (Y[None], "6 images and 1 labels, of shape (1, 6)"),
        (Y[:5], "6 images and 5 labels"),
        (3, "the one number 3"),
        (["cat"] * 6, "list of str"),
        ([[0], [1, 2]], "no array of numbers"),
        (None, "NoneType"),
        (iter(range(6)), "iterator"),
        (Y + 0j, "complex64"),
    ],
)
def test_labels_that_are_refused(given, said):
    with pytest.raises(DataError) as raised:
        labels(given)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [
        *(
            X,
            X.double(),
            X.numpy(),
            list(X),
            list(X.numpy()),
            X.tolist(),
            X.clone().requires_grad_(),
        ),
        *(X.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1), X.numpy().astype(">f4")),
        *(X.numpy()[:, :, ::-1].copy()[:, :, ::-1], torch.nn.Parameter(X), X.numpy().astype("g")),
    ],
    ids=lambda g: f"{type(g).__name__}-{getattr(g, 'dtype', '')}",
)
def test_images_of_every_form(given):
    found = images_of(given)
    assert type(found) is torch.Tensor
    assert found.is_contiguous() and not found.requires_grad
    assert torch.equal(found, X)


def test_half_precision_and_bytes_are_read_by_their_own_scale():
    assert (images_of(X.half()) - X).abs().max() < 1e-3
    content = (X * 255).round().byte()
    for given in (content, content.numpy(), list(content)):
        assert torch.equal(images_of(given), content.float() / 255)
    assert images_of(content * 0 + 1).max() == pytest.approx(1 / 255)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X * 255, "must be in [0, 1]: divide them by 255"),
        (X * 2 - 1, "must be in [0, 1], before any normalization"),
        (X * 0 + 1.0000002, "in [1.00000024, 1.00000024]; they must be in [0, 1]: clamp them"),
        (X * float("nan"), "images hold NaN; they must be in [0, 1]"),
        (X.long(), "images are int64"),
        (X > 0.5, "images are bool"),
        (X + 0j, "complex64"),
        (X[0], "one image is images[None], grey ones are images[:, None]"),
        (X[None], "must be (N, C, H, W)"),
        (0.5, "must be (N, C, H, W)"),
        (torch.rand(2, 8, 8, 3), "(2, 8, 8, 3), (N, H, W, C)"),
        (torch.zeros(2, 3, 0, 4), "no pixel at all"),
        (X[:0], "there are no images"),
        ([], "there are no images"),
        ([X[0], X[0, :, :3]], "images[1] is float32 (3, 3, 4), images[0] is float32 (3, 5, 4)"),
        ([X[0], X[0].double()], "images[1] is float64"),
        ({"pixel_values": X}, "of type dict"),
        (None, "NoneType"),
        (X.to_sparse(), "sparse_coo"),
        (X.to("meta"), "on meta"),
    ],
)
def test_images_that_are_refused(given, said):
    with pytest.raises(DataError) as raised:
        images_of(given)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_tensors_of_inference_mode_become_plain_ones():
    with torch.inference_mode():
        images = torch.rand(1, 1, 2, 2)
    found = images_of(images)
    assert torch.equal(found.clone().requires_grad_(), images)
    assert not found.is_inference()


@pytest.mark.parametrize(
    ("eps", "radii"),
    [
        ("8/255", ["8/255"]),
        (" 4/255 , 0.5/255", ["4/255", "0.5/255"]),
        (8 / 255, ["0.03137254901960784"]),
        (np.float32(8 / 255), ["0.03137255"]),
        (torch.tensor(8 / 255), ["0.03137255"]),
        (torch.tensor([0.01, 0.02]), ["0.01", "0.02"]),
        (np.array([0.01, 0.02, 0.01]), ["0.01", "0.02"]),
        (np.array(0.25), ["0.25"]),
        (Fraction(8, 255), ["8/255"]),
        (Decimal("0.03"), ["0.03"]),
        (1, ["1"]),
        (["8/255", 0.5], ["8/255", "0.5"]),
    ],
)
def test_radii_of_every_form(eps, radii):
    assert [threat.text for threat in threats_of(eps, Linf)] == radii


@pytest.mark.parametrize(
    ("eps", "norm", "said"),
    [
        ("3", "l2", "did you mean 3/255? In l2, write 3.0 if that is meant"),
        (3, "l2", "write 3.0"),
        ("1e3", "l2", "over 1, the whole pixel range [0, 1]; in l2, write 1000.0"),
        ("3", "linf", "did you mean 3/255?"),
        (8, "linf", "did you mean 8/255?"),
        ([], "linf", "there is no radius"),
        ("", "linf", "not a number"),
        (float("nan"), "linf", "not a number"),
        (float("inf"), "l2", "not a number"),
        ("1/0", "linf", "not a number"),
        ("1/2/3", "linf", "not a number"),
        ("1e999999999", "l2", "not a number"),
        (-0.1, "l2", "negative"),
        (True, "linf", "of type bool"),
        (None, "linf", "of type NoneType"),
        (b"8/255", "linf", "of type bytes"),
        (1j, "linf", "of type complex"),
    ],
)
def test_radii_that_are_refused(eps, norm, said):
    with pytest.raises(UsageError) as raised:
        threats_of(eps, NORMS[norm])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_the_advice_on_a_radius_names_is_taken():
    for text in ("3.0", "1000.0", "3/255", "7/2"):
        assert L2.of(text).eps == float(Fraction(text))
    assert Linf.of("1.5/255").eps == Linf.of(" 3 / 510 ").eps == 1.5 / 255


def test_norms_and_whole_numbers():
    assert [norm_of(n) for n in ("linf", "Linf", "L2")] == [Linf, Linf, L2]
    with pytest.raises(UnknownNameError, match="did you mean linf"):
        norm_of(np.inf)
    assert whole(np.int64(3), "seed", least=0) == 3
    for value in (-1, 2.5, "1", None, True):
        with pytest.raises(UsageError, match="seed is"):
            whole(value, "seed", least=0)


@pytest.mark.parametrize(
    ("name", "settings", "attack"),
    [
        ("pgd", {"steps": np.int64(3), "restarts": 2}, Pgd(3, restarts=2)),
        ("pgd", {"step_size": "1/255", "loss": "dlr"}, Pgd(step_size=1 / 255, loss="dlr")),
        ("square", {"steps": 7}, Square(7)),
        ("square", {"queries": 7}, Square(7)),
        (Pgd(4), {}, Pgd(4)),
    ],
)
def test_settings_by_keyword(name, settings, attack):
    assert attack_of(name, settings, Linf) == attack
    assert attack_of("pgd", {"step_size": 1.5}, L2) == Pgd(step_size=1.5)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("autoattack", {"steps": 50}, "steps is not for autoattack"),
        ("apgd-t", {"restarts": 2}, "which takes steps, targets"),
        ("square", {"start": "zero"}, "which takes queries"),
        ("pgd", {"epsilon": 0.1}, "which takes steps"),
        ("pgd", {"steps": 2.5}, "steps is 2.5"),
        ("pgd", {"steps": 0}, "steps is 0"),
        ("pgd", {"step_size": 2}, "step size '2.0' is over 1"),
        ("pgd", {"start": "rnd"}, "did you mean random"),
        ("apgd", {"loss": 3}, "unknown loss '3'"),
        (Pgd(step_size=2), {}, "step size '2.0' is over 1"),
        (Pgd(), {"steps": 3}, "write it in Pgd(...)"),
        (Pgd, {}, "like Pgd()"),
        (FeatureAttack(), {}, "an attack on an encoder"),
        (None, {}, "of type NoneType"),
    ],
)
def test_settings_that_are_refused(name, settings, said):
    with pytest.raises(UsageError) as raised:
        attack_of(name, settings, Linf)
    assert said in str(raised.value)


def test_the_attack_on_features_has_the_same_door():
    encoder, x = make_encoder(), torch.rand(4, 3, 16, 24)
    quick = FeatureAttack(steps=2)
    expected, found = (
        list(evaluate_features(encoder, given, quick, [Linf(0.02)]))
        for given in (x, x.double().numpy())
    )
    assert found[0].push_quantiles == expected[0].push_quantiles
    with pytest.raises(DataError, match="divide them by 255"):
        list(evaluate_features(encoder, x * 255, quick, [Linf(0.02)]))
