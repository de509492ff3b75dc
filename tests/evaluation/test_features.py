"""Label-free attacks and measures, on encoders whose answers are known in closed form."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from cfamc_zoo.errors import DataError, UnknownNameError, UsageError
from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.features import FeatureReader, evaluate_features
from cfamc_zoo.evaluation.ledger import Ledger, StateFile
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.zoo.threat import Linf, threat_of
from tests.conftest import make_encoder
from tests.evaluation.attacks.models import some_images


class Average(nn.Module):
    """The mean of an image, one number: a perturbation moves it by eps at most."""

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None]


class Constant(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) * 0 + 1


def line(n=9):
    """Images of one grey each, evenly spaced: distances of vectors are known."""
    greys = torch.linspace(0.2, 0.8, n).view(-1, 1, 1, 1)
    return greys.expand(n, 3, 8, 8).contiguous()


def test_on_a_linear_encoder_the_perturbation_is_the_optimal_one():
    images, eps = line(), 0.01
    encoder = Average()
    with attacked(encoder, images, torch.zeros(9, dtype=torch.long), 1) as victim:
        own = victim.logits(images)
        pushed = FeatureAttack().push(victim, images, own, threat_of("linf", "0.01"), range(9))
        assert ((victim.logits(pushed) - own).abs() - eps).abs().max() < 1e-4
        other = own.roll(1, 0)
        pulled = FeatureAttack().pull(victim, images, other, threat_of("linf", "0.01"), range(9))
    before, after = ((victim.logits(x) - other).abs() for x in (images, pulled))
    torch.testing.assert_close(before - after, torch.full_like(before, eps), atol=1e-4, rtol=0)
    assert (pulled - images).abs().max() <= eps + 1e-6


@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_attack_moves_a_real_encoder_within_the_ball(distance, norm):
    reader = FeatureReader(make_encoder(), "backbone")
    images, threat = some_images(6, side=32), threat_of(norm, "0.03" if norm == "linf" else "0.3")
    with attacked(reader, images, torch.zeros(6, dtype=torch.long), 32) as victim:
        own = victim.logits(images)
        attack = FeatureAttack(distance, steps=8)
        pushed, again = (attack.push(victim, images, own, threat, range(6)) for _ in range(2))
        assert torch.equal(pushed, again)
        noise = FeatureAttack(distance, steps=1, step_size=1e-9)
        chance = noise.push(victim, images, own, threat, range(6))
        far = (victim.logits(pushed) - own).norm(dim=1)
        assert (far > 1.5 * (victim.logits(chance) - own).norm(dim=1)).all()
    assert threat.size(pushed - images).max() <= threat.eps * 1.00001 + 1e-7
    assert pushed.min() >= 0 and pushed.max() <= 1


def test_measures_where_they_can_be_counted_by_hand():
    """Nine points on a line, 0.075 apart; eps is 0.1, so the attacked passes one neighbour."""
    (result,) = evaluate_features(Average(), line(), FeatureAttack(), [Linf(0.1)])
    # Of 36 pairs 8 are one step apart (0.075), 7 two steps (0.15): 0.1 is at least 8 of 36.
    assert result.push_quantiles == pytest.approx([8 / 36] * 9)
    assert result.push_distances == pytest.approx([0.1] * 9, abs=1e-3)
    # Sorted, the pairs are 8 at 0.075, 7 at 0.15, ...: the tenth, the half and nine tenths.
    assert result.typical == pytest.approx((0.075, 0.225, 0.45), abs=1e-5)
    # Of four pairs and one image without: each pulled 0.1 nearer, unless it is there before.
    assert len(result.pull_distances) == len(result.pull_quantiles) == 8
    steps = np.arange(1, 9) * 0.075
    for distance in result.pull_distances:
        assert np.abs(np.maximum(steps - 0.1, 0) - distance).min() < 0.02
    # On the side it went to, two neighbours (0.025 and 0.05 away) are nearer than itself (0.1).
    assert 0 < result.breakaway_risk <= 2 / 8
    assert sum(result.retrieved) <= 2, "only at the ends is there no neighbour to pass"


def test_small_balls_are_harmless_and_large_ones_are_not():
    threats = [Linf(0.001), Linf(0.2)]
    small, large = evaluate_features(Average(), line(), FeatureAttack(), threats)
    assert small.breakaway_risk == small.overlap_risk == 0
    assert small.retrieval[0] == 100
    assert max(small.push_quantiles) == 0
    assert sum(small.pull_quantiles) > sum(large.pull_quantiles)
    assert large.breakaway_risk > small.breakaway_risk
    assert large.overlap_risk > 0
    assert large.retrieval[0] < 50
    assert min(large.pull_quantiles) == 0, "neighbours can pass for each other"


def test_other_batches_give_the_same_measures():
    reader, images = FeatureReader(make_encoder(), "representation"), some_images(7, side=32)
    (a,), (b,) = (
        evaluate_features(
            reader, images, FeatureAttack(steps=2), [Linf.of("2/255")], Run(batch_size=size)
        )
        for size in (7, 3)
    )
    assert a.push_quantiles == pytest.approx(b.push_quantiles, abs=0.1)
    assert a.retrieved == b.retrieved


class Tight(FeatureAttack):
    """Has no room for a batch of so many, and finds out only after it has pushed them."""

    def pull(self, victim, images, *others):
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return super().pull(victim, images, *others)


def test_what_ran_out_of_memory_between_two_attacks_counts_once():
    images, told, kept = line(), [], Ledger(9)
    (expected,) = evaluate_features(Average(), images, FeatureAttack(steps=3), [Linf(0.2)])
    run = Run(ledger=kept, say=told.append, advance=lambda n, _: told.append(n))
    (found,) = evaluate_features(Average(), images, Tight(steps=3), [Linf(0.2)], run)
    assert [text[-1] for text in told if isinstance(text, str)] == ["5", "3", "2"]
    assert dataclasses.replace(found, seconds=0) == dataclasses.replace(expected, seconds=0)
    assert expected.breakaway_risk > 0
    assert [stage.tried for stage in kept.stages.values()] == [9, 9]


def test_of_an_encoder_that_sees_nothing_nothing_can_be_measured():
    with pytest.raises(
        DataError, match="same vector for most of 9 images.*nothing can be measured"
    ):
        list(evaluate_features(Constant(), line(), FeatureAttack(), [Linf(0.1)]))


class Interrupted(Average):
    def __init__(self, call):
        super().__init__()
        self.calls, self.call = 0, call

    def forward(self, x):
        self.calls += 1
        if self.calls == self.call:
            raise KeyboardInterrupt
        return super().forward(x)

    def __deepcopy__(self, memo):
        raise TypeError("counted, so not to be copied")


@pytest.mark.parametrize("call", [20, 60])
def test_a_stopped_run_goes_on_to_the_very_same_end(tmp_path, call):
    def measure(reader, name):
        state = StateFile(tmp_path / name, key={}, images=line().numpy(), radii=4)
        attack, threats = FeatureAttack(steps=3), [Linf(0.05), Linf(0.1)]
        results = evaluate_features(reader, line(), attack, threats, Run(0, 2, state))
        return [dataclasses.replace(r, seconds=0) for r in results], state

    expected, whole = measure(Interrupted(-1), "whole")
    with pytest.raises(KeyboardInterrupt):
        measure(Interrupted(call), "parts")
    second = Interrupted(-1)
    found, resumed = measure(second, "parts")
    assert found == expected
    assert np.array_equal(resumed.adversarial, whole.adversarial)
    done = Interrupted(-1)
    measure(done, "parts")
    assert done.calls < second.calls, "what is known is not attacked again"
    for part, eps in enumerate((0.05, 0.05, 0.1, 0.1)):
        moved = np.abs(whole.adversarial[part] - line().numpy()).max((1, 2, 3))
        assert moved.max() == pytest.approx(eps, abs=1e-6)
        # Nine images have four partners and one that is left alone.
        assert (moved > 0).sum() == (9, 8)[part % 2]


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: FeatureAttack("cosinus"), UnknownNameError, "did you mean cosine"),
        (lambda: FeatureAttack(steps=0), UsageError, "steps is 0"),
        (
            lambda: list(evaluate_features(Average(), line(2), FeatureAttack(), [Linf(0.1)])),
            DataError,
            "at least 3",
        ),
        (
            lambda: list(evaluate_features(Average(), line() * 2, FeatureAttack(), [Linf(0.1)])),
            DataError,
            r"must be in \[0, 1\]",
        ),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said):
        call()
