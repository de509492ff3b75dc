"""Runs side by side are the same runs: nothing but their number at a time may differ."""

import pytest
import torch

from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.survivors import Survivors
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.zoo.threat import threat_of
from tests.evaluation.attacks.models import Affine, distances, own_labels, some_images

SEVERAL_RUNS = [
    Pgd(steps=10, restarts=5),
    Apgd("ce", steps=10, restarts=5),
    ApgdTargeted(steps=10),
    FabTargeted(steps=10),
]


def standing_of(n, room):
    model, images = Affine(), some_images(n)
    labels = own_labels(model, images)
    with attacked(model, images, labels, 5) as victim:
        return Survivors(victim, Batch(images, labels, range(100, 100 + n), room))


def a_fooling_image(survivors):
    """A row, and an image that the model does not take for it."""
    images, labels = survivors.batch.images, survivors.batch.labels
    other = next(k for k in range(len(images)) if labels[k] != labels[2])
    return 2, images[other].clone()


@pytest.mark.parametrize("attack", SEVERAL_RUNS, ids=lambda a: a.name)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_side_by_side_an_image_falls_or_stands_as_one_after_the_other(attack, norm):
    model, images = Affine(), some_images(low=0.2, high=0.8)
    labels = own_labels(model, images)
    threat = threat_of(norm, f"{distances(model, images, labels, norm).median().item():.9f}")
    seen = []
    with attacked(model, images, labels, 5) as victim:
        for room in (1, 100, 1000):
            x = attack.run(victim, Batch(images, labels, range(40), room), threat)
            assert threat.size(x - images).max() <= threat.eps * (1 + 1e-5) + 1e-7
            seen.append(own_labels(model, x) == labels)
    assert 5 < seen[0].sum() < 35, "the test should hold both"
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("room", "groups"), [(0, [1] * 5), (7, [1] * 5), (8, [2, 2, 1]), (17, [3, 2]), (99, [5])]
)
def test_as_many_runs_at_a_time_as_there_is_room_for(room, groups):
    survivors = standing_of(4, room)
    seen, begun = [], 0
    for _ in survivors.runs(5):
        together = len(survivors) // 4
        seen.append(together)
        runs = range(begun, begun + together)
        assert survivors.rows.tolist() == [0, 1, 2, 3] * together
        assert survivors.keys == [(seed, run) for run in runs for seed in range(100, 104)]
        begun += together
    assert seen == groups
    assert survivors.rows.tolist() == [0, 1, 2, 3]


def test_an_image_that_falls_in_one_run_leaves_all():
    survivors = standing_of(4, room=8)
    row, fooling = a_fooling_image(survivors)
    for _ in survivors.runs(2):
        points = survivors.images
        points[4 + row] = fooling  # in the second run alone
        suspect = torch.zeros(8, dtype=torch.bool)
        suspect[4 + row] = True
        keep = survivors.confirm(points, suspect)
        assert keep.tolist() == [k != row for k in range(4)] * 2
    assert survivors.rows.tolist() == [k for k in range(4) if k != row]
    assert torch.equal(survivors.adversarial[row], fooling)


def test_of_two_that_fool_at_once_the_first_run_is_kept():
    survivors = standing_of(4, room=8)
    row, fooling = a_fooling_image(survivors)
    for _ in survivors.runs(2):
        points = survivors.images
        points[row] = fooling
        points[4 + row] = fooling * 0.999
        survivors.confirm_rest(points)
    assert torch.equal(survivors.adversarial[row], fooling)


def test_the_runs_end_when_nothing_stands():
    survivors = standing_of(4, room=4)
    survivors.batch.labels[:] = (survivors.batch.labels + 1) % 5  # the model is wrong about all
    begun = 0
    for _ in survivors.runs(5):
        begun += 1
        survivors.confirm_rest(survivors.images)
    assert begun == 1
    assert not len(survivors)
