"""Names of many files: the same order as pathlib's, in little memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cfamc_zoo.names import FileNames


def names_of(paths):
    names, folders = FileNames(), {}
    for path in paths:
        folders.setdefault(str(path.parent), []).append(path.name)
    for folder, found in folders.items():
        names.add(folder, found)
    return names


@pytest.mark.parametrize("start", [".", "/", "a b/c", "/x"])
def test_the_order_is_by_parts(start):
    rng = np.random.default_rng(0)
    parts = ["a", "b", "a.png", "a-", "A", "é", "a b", "0", "~"]
    paths = {Path(start, *rng.choice(parts, rng.integers(1, 5)), "x.png") for _ in range(300)}
    paths |= {
        Path(start, *rng.choice(parts, rng.integers(0, 3)), f"{i % 20}.png") for i in range(99)
    }
    names = names_of(paths)
    expected = [str(path) for path in sorted(paths, key=lambda path: path.parts)]
    assert list(names) == expected and len(names) == len(expected)
    assert all(name in names for name in expected) and str(Path(start, "no.png")) not in names


def test_some_or_all_names_of_a_folder_are_forgotten():
    names = names_of([Path("a/1"), Path("a/2"), Path("a/b/1"), Path("3")])
    names.remove("a", {"2"})
    assert list(names) == ["3", "a/1", "a/b/1"] and len(names) == 3
    names.remove("a", {"1"})
    names.remove(".")
    assert list(names) == ["a/b/1"] and len(names) == 1


def test_a_name_takes_little_more_than_its_own_bytes():
    tracemalloc.start()
    try:
        names = FileNames()
        for i in range(100):
            names.add(f"/a/rather/long/path/to/{i}", [f"image-{j:08}.jpeg" for j in range(1000)])
        assert tracemalloc.get_traced_memory()[0] < 30 * len(names)
    finally:
        tracemalloc.stop()
