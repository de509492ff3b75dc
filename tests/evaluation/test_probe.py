import pytest
import torch
from torch.nn import functional as F

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.probe import extract, fit_probe, logistic_regression


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
    """With more features than images, the fit alone would always like the weakest."""
    generator = torch.Generator().manual_seed(3)
    y = torch.arange(120) % 2
    noise = torch.randn(120, 300, generator=generator)
    noise[:, 0] += 2 * (2 * y - 1)
    probe = fit_probe(noise, y, 2, decays=(1e-6, 1.0))
    assert probe.decay == max(probe.held_out, key=lambda d: (probe.held_out[d], d))
    assert set(probe.held_out) == {1e-6, 1.0}


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
