import pytest
import torch
from torch.nn import functional as F

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.heads.linear import extract, fit_probe, logistic_regression


def blobs(n=400, d=6, classes=3, spread=1.0):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    centres = 3 * torch.randn(classes, d, generator=generator)
    return centres[labels] + spread * torch.randn(n, d, generator=generator), labels


def test_the_solution_is_where_the_gradient_vanishes():
    x, y = blobs()
    weights = logistic_regression(x, y, 3, 1e-2).double().requires_grad_()
    loss = F.cross_entropy(x.double() @ weights[:, :-1].T + weights[:, -1], y)
    loss = loss + 1e-2 / 2 * weights[:, :-1].square().sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    assert gradient.abs().max() < 1e-4


def test_standardization_is_folded_into_the_head():
    """Scale and shift of the features change the head, not what it says."""
    x, y = blobs()
    scale = torch.tensor([1e-3, 1, 1e3, 5, 0.1, 1])
    plain, scaled = fit_probe(x, y, 3), fit_probe(x * scale + 7, y, 3)
    assert plain.decay == scaled.decay
    torch.testing.assert_close(plain.head(x), scaled.head(x * scale + 7), rtol=1e-2, atol=2e-2)
    assert (plain.head(x).argmax(1) == y).float().mean() > 0.95


def test_the_decay_is_chosen_on_images_held_out():
    """A fifth of the labels is wrong, and the weakest decay learns those by heart."""
    generator = torch.Generator().manual_seed(3)
    y = torch.arange(2400) % 2
    x = torch.randn(2400, 200, generator=generator)
    x[:, 0] += 2 * (2 * y - 1)
    few, rest = slice(0, 400), slice(400, None)
    wrong = torch.rand(400, generator=generator) < 0.2
    given = torch.where(wrong, 1 - y[few], y[few])
    on_train, elsewhere = {}, {}
    for decay in (1e-6, 1.0):
        head = fit_probe(x[few], given, 2, decays=(decay,)).head
        on_train[decay] = (head(x[few]).argmax(1) == given).float().mean()
        elsewhere[decay] = (head(x[rest]).argmax(1) == y[rest]).float().mean()
    assert on_train[1e-6] > on_train[1.0] + 0.1 and elsewhere[1.0] > elsewhere[1e-6] + 0.04
    assert fit_probe(x[few], given, 2, decays=(1e-6, 1.0)).decay == 1.0


def unequal():
    """Three images in four are of class 0, and no two of different classes are near."""
    y = (torch.arange(400) % 4 == 0).long()
    generator = torch.Generator().manual_seed(0)
    return 3 * (2.0 * y[:, None] - 1) + 0.1 * torch.randn(400, 2, generator=generator), y


@pytest.mark.parametrize(("liked", "chosen"), [("weak", 1e-3), ("strong", 1.0)])
def test_the_most_robust_head_is_released_of_those_that_stay_accurate(liked, chosen):
    """At 1e4 a head knows only that class 0 is frequent: 75% and, to its robustness, 100%."""
    x, y = unequal()
    asked = []

    def robust(head, held):
        asked.append(held)
        size = head.weight.norm().item()
        return size if liked == "weak" else 100 - size

    probe = fit_probe(x, y, 2, decays=(1e-3, 1.0, 1e4), robust=robust)
    assert probe.held_out[1e-3] == probe.held_out[1.0] == 100
    assert probe.held_out[1e4] < 95
    assert set(probe.held_out_robust) == {1e-3, 1.0}
    assert probe.decay == chosen
    assert all(len(set(held.tolist())) == 40 for held in asked), "a tenth of the images"
    best = fit_probe(x, y, 2, decays=(chosen,)).head
    torch.testing.assert_close(probe.head.weight, best.weight, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize(("accuracy", "enough"), [(94.9, False), (95.1, True)])
def test_enough_is_95_percent_of_the_best_clean_accuracy(monkeypatch, accuracy, enough):
    """Heads by hand, each of which is right beyond a threshold of the one feature."""
    x = torch.arange(10_000.0)[:, None]
    y = torch.ones(10_000, dtype=torch.long)
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))
    held = order[:1000].sort().values.float()
    mean, scale = x.mean(), x.std()

    def by_hand(features, labels, classes, decay, start=None):
        """All right at decay 1; at decay 2 only those over a threshold."""
        wrong = round(1000 - 10 * accuracy) if decay == 2 else 0
        threshold = (held[wrong] - 0.5 - mean) / scale
        return torch.stack((torch.zeros(2), torch.stack((torch.tensor(1.0), -threshold))))

    monkeypatch.setattr("cfamc_zoo.evaluation.heads.linear.logistic_regression", by_hand)
    asked = []
    probe = fit_probe(
        x, y, 2, decays=(1.0, 2.0), robust=lambda head, _: asked.append(head) or float(len(asked))
    )
    assert probe.held_out == {1.0: 100, 2.0: pytest.approx(accuracy)}
    assert set(probe.held_out_robust) == ({1.0, 2.0} if enough else {1.0})


def test_a_constant_feature_and_the_same_seed_do_no_harm():
    x, y = blobs()
    x = torch.cat((x, torch.ones(len(x), 1)), 1)
    a, b = fit_probe(x, y, 3, seed=5), fit_probe(x, y, 3, seed=5)
    assert torch.equal(a.head.weight, b.head.weight)
    assert a.head.weight.isfinite().all()


def test_features_are_the_encoders(tiny_release, sample):
    import cfamc_zoo

    encoder = cfamc_zoo.load(str(tiny_release))
    images = sample.images[:10]
    got = extract(encoder, images, "representation", device=torch.device("cpu"), batch_size=3)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(got, encoder(x, "representation"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [torch.tensor([0, 3]), torch.tensor([-1, 0])])
def test_labels_out_of_range(labels):
    with pytest.raises(DataError, match=r"not 0\.\.2"):
        fit_probe(torch.zeros(2, 4), labels, 3)
