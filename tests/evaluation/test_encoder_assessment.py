"""`cfamc_zoo.attack_encoder`: how far any encoder's vectors move, from Python."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import cfamc_zoo
from cfamc_zoo.errors import DataError, OutputExistsError, UsageError
from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.features import FeatureReader, evaluate_features
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.zoo.threat import Linf
from tests.conftest import make_encoder
from tests.evaluation.attacks.models import some_images
from tests.evaluation.test_features import Average, Constant, line

STEPS = {"steps": 2}


def test_it_finds_what_the_attack_finds_and_leaves_all_as_it_was():
    encoder, images = make_encoder().train(), some_images(7, side=32)
    weights = {k: v.clone() for k, v in encoder.state_dict().items()}
    state, before = torch.get_rng_state(), images.clone()
    result = cfamc_zoo.attack_encoder(
        encoder, images, eps="2/255,0.1", features="representation", seed=4, **STEPS
    )
    expected = evaluate_features(
        FeatureReader(make_encoder(), "representation"),
        images,
        FeatureAttack(steps=2),
        [Linf.of("2/255"), Linf.of("0.1")],
        Run(seed=4),
    )
    for found, wanted in zip(result.results, expected, strict=True):
        assert found.push_quantiles == wanted.push_quantiles
        assert found.overlap_risk == wanted.overlap_risk
    assert encoder.training and torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in encoder.state_dict().items())


def test_a_wrapped_module_is_measured_in_pixels():
    """A linear encoder behind a normalization moves by eps over std, no more and no less."""
    encoder = cfamc_zoo.wrap(Average(), size=8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    result = cfamc_zoo.attack_encoder(encoder, line(), eps=0.01)
    assert result.results[0].push_distances == pytest.approx([0.04] * 9, abs=1e-4)
    assert np.abs(result.adversarial[0] - line().numpy()).max() <= 0.01 + 1e-6


def test_images_of_eight_bits_become_the_input():
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 48, 3), np.uint8)
    result = cfamc_zoo.attack_encoder(make_encoder(), images, **STEPS)
    assert result.adversarial.shape == (2, 4, 3, 32, 32)


def test_it_is_shown_printed_and_written(tmp_path):
    encoder, told = cfamc_zoo.wrap(Average(), size=8), []
    result = cfamc_zoo.attack_encoder(
        encoder, line(), eps="0.1,0.2", progress=lambda *what: told.append(what[:2]), **STEPS
    )
    assert told[-1] == (36, 36)
    assert [text.split(":")[0] for text in str(result).splitlines()[1:]] == ["eps 0.1", "eps 0.2"]
    found = json.loads(json.dumps(result.to_json()))
    assert found["model"] == "Average" and found["results"][1]["eps"] == "0.2"
    assert found["results"][0]["breakaway_risk"] == result.results[0].breakaway_risk
    result.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "How far vectors of Average move" in page and "data:image/png" in page
    result.save(tmp_path / "images.parquet")
    table = pq.read_table(tmp_path / "images.parquet")
    assert table["attack"].to_pylist()[::9] == ["push", "pull"] * 2
    assert table["stands"].to_pylist()[:9] == result.results[0].retrieved
    with pytest.raises(OutputExistsError):
        result.report(tmp_path / "page.html")


class Crowded(nn.Module):
    """Has memory for so many images alone."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def forward(self, x):
        if len(x) > self.room:
            raise torch.OutOfMemoryError
        return x.mean((2, 3))


def test_batches_are_halved_when_memory_runs_out():
    result = cfamc_zoo.attack_encoder(cfamc_zoo.wrap(Crowded(2), size=8), line(), **STEPS)
    assert any("out of memory" in note for note in result.notes)


@pytest.mark.parametrize(
    ("pixels", "batch"), [(32, 128), (64, 128), (224, 10), (512, 8)], ids=lambda n: str(n)
)
def test_large_images_come_in_smaller_batches(pixels, batch):
    assert Run().batch_of(torch.empty(1000, 3, pixels, pixels, device="meta")) == batch
    assert Run(batch_size=5).batch_of(torch.empty(1, 3, pixels, pixels)) == 5


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: cfamc_zoo.attack_encoder(Average(), line()), UsageError, r"cfamc_zoo.wrap\("),
        (lambda: wrapped(Constant()), DataError, "nothing can be measured"),
        (lambda: wrapped(Average(), line(2)), DataError, "at least 3"),
        (lambda: wrapped(Average(), line() * 2), DataError, r"in \[0, 1\]"),
        (lambda: wrapped(Average(), line()[:, :1]), DataError, r"\(N, H, W, 3\) uint8"),
        (lambda: wrapped(Average(), torch.rand(4, 3, 9, 9)), DataError, "resize them"),
        (lambda: wrapped(Average(), features="projection"), UsageError, "has no projection"),
        (lambda: wrapped(Average(), restarts=2), UsageError, "restarts is not for feature"),
        (lambda: wrapped(Average(), eps=-1), UsageError, "-1"),
        (
            lambda: cfamc_zoo.attack(cfamc_zoo.wrap(Average(), size=8), line(), [0] * 9),
            UsageError,
            "attack_encoder",
        ),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said) as refused:
        call()
    assert "\n" not in str(refused.value)


def wrapped(module, images=None, **more):
    images = line() if images is None else images
    return cfamc_zoo.attack_encoder(cfamc_zoo.wrap(module, size=8), images, **STEPS | more)
