"""The paper's script's head, on an encoder whose features are pixels."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.heads.published import fit_published_head

N = 300  # one batch of 256 an epoch, the rest dropped


class Pixels(nn.Module):
    """Keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, images, feature):
        assert feature == "backbone"
        self.shown.append(images.detach().clone())
        return images.flatten(1)


@pytest.fixture
def data():
    images = np.random.default_rng(0).integers(0, 256, (N, 2, 2, 3), dtype=np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return images, x, torch.arange(N) % 3


def by_hand(x, y, seed):
    """The schedule as the script has it, written out."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    head = nn.Linear(12, 3)
    adam = torch.optim.Adam(head.parameters(), lr=3e-4)
    for attacked in (False, False, True, True, False, False):
        chosen = torch.randperm(N, generator=generator)[:256]
        images, labels = x[chosen], y[chosen]
        point = images.clone()
        for _ in range(5 if attacked else 0):
            point.requires_grad_()
            loss = F.cross_entropy(head(point.flatten(1)), labels)
            (gradient,) = torch.autograd.grad(loss, point)
            point = (point + 0.01 * gradient.sign()).detach()
            point = point.clamp(images - 8 / 255, images + 8 / 255).clamp(0, 1)
        adam.zero_grad()
        F.cross_entropy(head(point.flatten(1)), labels).backward()
        adam.step()
    return head


def test_it_is_the_schedule_written_out(data, monkeypatch):
    monkeypatch.setattr(
        "cfamc_zoo.evaluation.heads.published.fast_dtype", lambda device: torch.float32
    )
    images, x, y = data
    encoder, seen = Pixels(), []
    head = fit_published_head(
        encoder, "backbone", images, x.flatten(1), y, 3, seed=4, advance=seen.append
    )
    expected = by_hand(x, y, 4)
    torch.testing.assert_close(head.weight, expected.weight, rtol=1e-3, atol=1e-5)
    assert seen == [256] * 6
    assert len(encoder.shown) == 2 * (5 + 1), "two attacked epochs: five steps, then the features"
    for first in (0, 6):
        start, end = encoder.shown[first], encoder.shown[first + 5]
        assert 0.02 < (end - start).abs().max() <= 8 / 255 + 1e-6
        assert end.min() >= 0 and end.max() <= 1


def test_fewer_images_than_a_batch_are_refused(data):
    images, x, y = data
    with pytest.raises(DataError, match="255 images are fewer than the protocol's batch of 256"):
        fit_published_head(Pixels(), "backbone", images[:255], x[:255].flatten(1), y[:255], 3)
