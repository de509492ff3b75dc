"""What is attacked, and how it is gone through: values that every evaluation is given."""

import numpy as np
import pytest
import torch

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.ledger import Ledger
from cfamc_zoo.evaluation.run import Run

CPU = torch.device("cpu")


def test_examples_take_what_a_person_has_and_become_what_a_network_takes():
    images = np.full((3, 3, 2, 2), 255, np.uint8)
    found = Examples(images, [[0], [1], [1]], 2).on(CPU)
    assert found.images.dtype == torch.float32 and found.images.max() == 1
    assert found.labels.dtype == torch.int64 and found.labels.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="the model knows 0..0"):
        Examples(images, [0, 1, 1], 1).on(CPU)


@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([1, 2])], ids=["slice", "numbers"])
def test_a_part_of_examples_keeps_labels_with_their_images(rows):
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2) / 4
    part = Examples(images, torch.tensor([3, 2, 1, 0]), 5).take(rows)
    assert part.images[:, 0, 0, 0].tolist() == [0.25, 0.5]
    assert part.labels.tolist() == [2, 1]
    assert (len(part), part.classes) == (2, 5)


def test_no_two_images_or_seeds_share_their_draws():
    rows = torch.arange(1000)
    draws = [seed for run in (Run(0), Run(1)) for seed in run.seeds(rows)]
    assert len(set(draws)) == 2000
    assert Run(1).seeds(rows[7:9]) == Run(1).seeds(rows)[7:9], "whatever the batch"


def test_a_run_keeps_and_tells_nothing_where_nobody_asks():
    ledger, said = Ledger(2), []
    run = Run(3, 8, ledger, lambda n, status: said.append(n), said.append)
    assert run.ledger_of(2) is ledger
    alone = run.alone()
    alone.advance(1, "")
    alone.say("text")
    assert not said and (alone.seed, alone.batch_of(torch.zeros(1, 3, 32, 32))) == (3, 8)
    assert alone.ledger_of(2) is not ledger and alone.ledger_of(2).n == 2


@pytest.mark.parametrize(("side", "batch"), [(32, 128), (64, 128), (128, 32), (1024, 8)])
def test_batches_of_large_images_are_smaller(side, batch):
    assert Run().batch_of(torch.zeros(1, 3, side, side)) == batch
