"""Which rows of labelled images: fair samples, and a part that is held out."""

from __future__ import annotations

import numpy as np

HELD_OUT = 0.2  # part of each class that tests a head where the data has no test images


def fair_sample(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` rows at random: one of each class while they last, the rest in proportion.

    Args:
        labels: (N,) int64.
        n: how many; all rows if there are no more.
        seed: of the draw.

    Returns:
        (min(n, N),) int64, ascending.
    """
    if n >= len(labels):
        return np.arange(len(labels))
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(labels))
    _, first = np.unique(labels[order], return_index=True)
    one_each = order[first]
    if n <= len(one_each):
        return np.sort(draw.choice(one_each, n, replace=False))
    rest = np.delete(order, first)
    rest = rest[np.argsort(labels[rest], kind="stable")]  # class by class, each shuffled
    # Every step-th of them from a random start: each class its share, each row the same chance.
    wanted = n - len(one_each)
    step = len(rest) / wanted
    places = ((np.arange(wanted) + draw.random()) * step).astype(np.int64)
    return np.sort(np.concatenate((one_each, rest[places])))


def hold_out(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit a head to, and a fifth of each class that it is not fitted to.

    A class of one image has none to hold out; of every other at least one is.

    Args:
        labels: (N,) int64.
        seed: of the draw.

    Returns:
        Two ascending arrays of int64 that share no row and together are all.
    """
    draw = np.random.default_rng(seed)
    held = [np.empty(0, np.int64)]
    for label in np.unique(labels):
        members = draw.permutation(np.flatnonzero(labels == label))
        count = max(1, round(HELD_OUT * len(members))) if len(members) > 1 else 0
        held.append(members[:count])
    test = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), test), test
