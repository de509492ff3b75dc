"""Ordinary edits: what each does to pixels, and the measures where they are known."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import DataError, UnknownNameError, UsageError
from cfamc_zoo.evaluation.edits.moved import evaluate_edits
from cfamc_zoo.evaluation.edits.table import EDITS, edited
from cfamc_zoo.evaluation.run import Run
from tests.evaluation.test_features import Average


def greys(n=9, side=16):
    """Images of one grey each, 20 of 255 apart: distances of vectors are known."""
    levels = 40 + 20 * np.arange(n, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (n, side, side, 3)).copy()


@pytest.fixture(scope="module")
def photos(sample):
    return sample.images[:24]


@pytest.mark.parametrize("kind", EDITS)
def test_a_stronger_edit_changes_more_and_draws_belong_to_the_image(kind, photos):
    before, changes = photos.copy(), []
    for strength in EDITS[kind].strengths:
        after = edited(photos, kind, strength, range(len(photos)), seed=1)
        changes.append(np.abs(after.astype(int) - photos).mean())
        alone = edited(photos[7:8], kind, strength, [7], seed=1)
        assert np.array_equal(alone[0], after[7])
    assert np.array_equal(photos, before)
    sides = 2 if kind in ("brightness", "contrast") else 1  # more and less, in turn
    for side in range(sides):
        one = changes[side::sides]
        assert one[0] > 0 and one == sorted(one)


def test_flat_images_are_moved_as_far_as_arithmetic_says():
    """The mean of a grey g after brightness times f is f g; geometry and contrast leave it."""
    images, reader = greys(), Average()
    results = {(r.kind, r.strength): r for r in evaluate_edits(reader, images, list(EDITS))}
    for (kind, _), r in results.items():
        if kind in ("resize", "crop", "blur", "contrast"):
            assert max(r.distances) < 1.01 / 255 and r.retrieval[0] == 100
            assert max(r.quantiles) == 0
    bright = results["brightness", 1.1]
    expected = images[:, 0, 0, 0] * 0.1 / 255
    assert bright.distances == pytest.approx(expected, abs=1 / 255)
    assert bright.pixels == pytest.approx((((images * 0.1) ** 2).mean()) ** 0.5, abs=1)
    # A median pair is three steps apart, so 60 of 255; of 36 pairs 8 are one step apart.
    assert bright.typical == pytest.approx(60 / 255, abs=1e-5)
    assert bright.length(0.5) == pytest.approx(np.median(bright.distances) / (60 / 255), abs=1e-5)
    assert bright.nearest[-1] == 8 and bright.nearest[0] == 0
    half = results["brightness", 0.5]
    assert half.nearest[4] == 1, "120 halved is 60, the second"
    assert half.quantiles[3] == pytest.approx((8 + 7) / 36), "100 moves by 50, over two steps"


def test_an_adversary_moves_further_than_edits_of_the_same_size(photos):
    found = cfamc_zoo.edits(
        "resnet18-thin-cifar10-free", photos, kinds="noise", eps="8/255", steps=5
    )
    noise, adversary = found.results[2], found.results[-1]
    assert (noise.said, adversary.kind) == ("Gaussian, 8/255", "adversary")
    assert adversary.pixels <= 8 and adversary.length(0.5) > 1.5 * noise.length(0.5)


def test_other_batches_give_the_same(photos):
    reader = nn.Sequential(nn.Flatten(), nn.Linear(3072, 5))
    whole, parts = (
        list(evaluate_edits(reader, photos, ["noise", "crop"], run=Run(3, size)))
        for size in (24, 5)
    )
    for a, b in zip(whole, parts, strict=True):
        assert a.distances == pytest.approx(b.distances, rel=1e-4)
        assert a.pixels == pytest.approx(b.pixels)


def test_the_command_and_the_call_agree(tmp_path, capsys, photos):
    page = tmp_path / "page.html"
    words = ["edits", "--kinds", "jpeg,blur", "--limit", "24", "--eps", "2/255", "--steps", "1"]
    assert run([*words, "--report", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    state, seen = torch.get_rng_state(), []
    found = cfamc_zoo.edits(
        "resnet18-thin-cifar10-free",
        photos,
        kinds=["jpeg", "blur"],
        eps="2/255",
        steps=1,
        progress=lambda *what: seen.append(what[:2]),
    )
    assert torch.equal(state, torch.get_rng_state()) and seen[-1] == (9 * 24, 9 * 24)
    assert [r["edit"] for r in told["results"]] == ["jpeg"] * 5 + ["blur"] * 3 + ["adversary"]
    for row, result in zip(told["results"], found.results, strict=True):
        expected = {**result.to_json(), "seconds": row["seconds"]}
        assert row == pytest.approx(expected)
    html = page.read_text()
    assert html.count("jpeg: quality") == 6, "five bars and a picture"
    assert "cfamc-zoo edits -m" in html and 'class="other"' in html
    assert "jpeg, quality 95: moved" in str(found)
    found.report(tmp_path / "own.html")
    assert run([*words, "--report", str(page)]) == 2
    assert "already there" in capsys.readouterr().err


def test_a_wrapped_module_is_measured(photos):
    encoder = cfamc_zoo.wrap(Average(), size=48)
    assert cfamc_zoo.edits(encoder, photos, kinds="crop").size == 48


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"kinds": "jpg"}, UnknownNameError, "did you mean jpeg"),
        ({"kinds": []}, UsageError, "no edit to measure"),
        ({"images": torch.rand(4, 3, 16, 16)}, DataError, "8 bits"),
        ({"images": greys(2)}, DataError, "at least 3"),
        ({"images": greys()[:1].repeat(4, 0)}, DataError, "nothing can be measured"),
        ({"features": "projection"}, UsageError, "has no projection"),
        ({"encoder": Average()}, UsageError, "wrap"),
    ],
)
def test_bad_input(more, error, said):
    given = {"encoder": cfamc_zoo.wrap(Average(), size=16), "images": greys()} | more
    with pytest.raises(error, match=said) as refused:
        cfamc_zoo.edits(given.pop("encoder"), given.pop("images"), **given)
    assert "\n" not in str(refused.value)
