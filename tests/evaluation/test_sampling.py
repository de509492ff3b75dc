import numpy as np

from cfamc_zoo.evaluation.sampling import fair_sample, hold_out

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def counts(labels, rows):
    return np.bincount(labels[rows], minlength=labels.max() + 1).tolist()


def test_a_sample_has_each_class_in_its_proportion():
    rows = fair_sample(LABELS, 20, seed=0)
    assert len(set(rows)) == 20 and list(rows) == sorted(rows)
    assert np.abs(np.array(counts(LABELS, rows)) - [12, 6, 2]).max() <= 1


def test_a_rare_class_is_in_it_and_no_class_comes_twice_before_each_came_once():
    labels = np.repeat([0, 1, 2], [997, 2, 1])
    assert counts(labels, fair_sample(labels, 3, seed=1)) == [1, 1, 1]
    assert counts(labels, fair_sample(labels, 4, seed=1)) == [2, 1, 1]
    for seed in range(5):
        assert max(counts(labels, fair_sample(labels, 2, seed))) == 1


def test_every_row_of_a_class_has_its_chance_and_the_seed_decides():
    drawn = [tuple(fair_sample(LABELS, 10, seed)) for seed in range(300)]
    assert fair_sample(LABELS, 10, 7).tolist() == list(drawn[7])
    assert len({row for rows in drawn for row in rows}) == 100


def test_as_many_as_there_are_is_all():
    assert fair_sample(LABELS, 100, 3).tolist() == list(range(100))
    assert fair_sample(LABELS, 500, 3).tolist() == list(range(100))


def test_a_fifth_of_each_class_is_held_out():
    kept, held = hold_out(LABELS, seed=0)
    assert counts(LABELS, held) == [12, 6, 2]
    assert sorted([*kept, *held]) == list(range(100))
    assert held.tolist() == hold_out(LABELS, seed=0)[1].tolist() != hold_out(LABELS, 1)[1].tolist()


def test_small_classes_keep_one_to_fit_to():
    kept, held = hold_out(np.array([0, 0, 1, 2, 2, 2]), seed=0)
    assert counts(np.array([0, 0, 1, 2, 2, 2]), kept) == [1, 1, 2]
    assert len(held) == 2
