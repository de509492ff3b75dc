"""A job cut into the tasks of workers: nothing lost, nothing twice, no more than fits."""

import io
import tarfile

import pytest

from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.units import cut, size_for


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    """Files that nobody reads: 200 in a folder, 3 in each tar."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(200):
        (tmp_path / "images" / f"{i:03}.png").touch()
    for name, mode in (("plain.tar", "w"), ("packed.tgz", "w:gz")):
        with tarfile.open(name, mode) as archive:
            for i in range(3):
                archive.add(f"images/{i:03}.png")


def names(units):
    return [[item.name for piece in unit for item in piece] for unit in units]


@pytest.mark.parametrize("largest", [50, 8192])
def test_units_are_all_items_in_order_and_what_is_read_from_its_start_is_one(largest):
    inputs = open_inputs(["images/199.png", "images", "packed.tgz", "plain.tar"])
    found = names(cut(inputs, largest))
    assert sum(map(len, found)) == 206
    assert [name for unit in found for name in unit] == [item.name for item in inputs]
    assert [f"packed.tgz/images/{i:03}.png" for i in range(3)] in found
    assert max(map(len, found)) <= min(largest, 32)


def test_a_list_is_cut_as_what_it_names():
    lines = b"\n".join(f"images/{i:03}.png".encode() for i in range(100)) + b"\nmissing.png\n"
    found = names(cut(open_inputs("-", stdin=io.BytesIO(lines)), 8192))
    assert [*map(len, found)] == [32, 32, 32, 5]
    assert found[0][0] == "images/000.png" and found[-1][-1] == "missing.png"


def test_the_size_depends_on_the_number_alone_and_keeps_many_workers_busy():
    assert [size_for(n, 8192) for n in (0, 400, 10_000, 10**6, 10**9)] == [32, 32, 256, 8192, 8192]
    assert size_for(10_000, 100) == 100
    assert size_for(10_000, 8192) == size_for(10_050, 8192)
