"""Logits without gradients: the model's own values, from ONNX Runtime where that pays."""

import pytest
import torch
from torch import nn

from cfamc_zoo.errors import ModelError
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.evaluation.victim.scoring import open_scoring
from tests.conftest import randomize_batchnorm


def make_model():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    randomize_batchnorm(model)
    return model.eval()


class Branching(nn.Module):
    """Looks at the values it is given, which no graph can hold."""

    def forward(self, images):
        logits = images.flatten(1)[:, :5]
        return logits * 2 if images.mean() > 0.5 else logits


@pytest.fixture
def images():
    return torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_exported_copy_has_the_logits_of_the_model(images, n):
    model = make_model()
    score = open_scoring(model, images[:3])
    with torch.no_grad():
        expected = model(images[:n])
    torch.testing.assert_close(score(images[:n]), expected, rtol=1e-4, atol=1e-5)
    permuted = images[:n].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(score(permuted), expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_cannot_be_exported_is_used_as_it_is(images):
    assert open_scoring(Branching(), images) is None
    with (
        attacked(Branching(), images, torch.zeros(7, dtype=torch.long), 5) as victim,
        victim.scoring(10**6) as score,
    ):
        assert torch.equal(score(images), Branching()(images))


@pytest.mark.parametrize("count", [10, 10**6])
def test_it_is_exported_once_and_for_much_work_alone(images, count):
    """What was exported does not notice what happens afterwards to the network in torch."""
    threads = torch.get_num_threads()
    found = []
    with attacked(make_model(), images, torch.zeros(7, dtype=torch.long), 5) as victim:
        for _ in range(2):
            with victim.scoring(count) as score:
                found.append(score(images))
            with torch.no_grad():
                victim.search.model[-1].weight.zero_()
    before, after = found
    assert before.shape == (7, 5) and not before.requires_grad
    assert torch.equal(before, after) == (count == 10**6)
    assert torch.get_num_threads() == threads


def test_torch_has_its_threads_back_whatever_happens(images):
    threads = torch.get_num_threads()
    with attacked(make_model(), images, torch.zeros(7, dtype=torch.long), 5) as victim:

        def fail():
            with victim.scoring(10**6) as score:
                assert torch.get_num_threads() == 1
                score(torch.full_like(images, float("nan")))

        with pytest.raises(ModelError, match="not finite"):
            fail()
    assert torch.get_num_threads() == threads
