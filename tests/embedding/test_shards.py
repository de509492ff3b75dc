"""Shares of the inputs: together they are the whole, and each image is in one."""

import tarfile
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.shards import parse_shard, share


@pytest.fixture
def images(tmp_path, monkeypatch, sample):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(10):
        Image.fromarray(sample.images[i]).save(f"images/{i}.png")
    content = [(tmp_path / "images" / f"{i}.png").read_bytes() for i in range(10)]
    pq.write_table(pa.table({"image": content[:5]}), "some.parquet", row_group_size=2)
    for name, mode in (("plain.tar", "w"), ("packed.tar.gz", "w:gz")):
        with tarfile.open(name, mode) as archive:
            archive.add("images")
    return tmp_path / "images"


def shards(inputs, count):
    texts = [f"{number}/{count}" for number in range(1, count + 1)]
    return [[i.name for i in share(open_inputs(inputs), parse_shard(text))] for text in texts]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_of_a_known_number_each_is_a_stretch_and_all_are_the_whole(images, count):
    inputs = ["images/3.png", "some.parquet", "images"]
    whole = [item.name for item in open_inputs(inputs)]
    each = shards(inputs, count)
    assert [*chain(*each)] == whole and len(whole) == 15
    assert {len(names) for names in each} <= {15 // count, 15 // count + 1}


def test_of_an_unknown_number_they_take_turns(images):
    whole = [item.name for item in open_inputs(["plain.tar", "some.parquet"])]
    each = shards(["plain.tar", "some.parquet"], 4)
    assert each == [whole[n::4] for n in range(4)]


def test_what_is_read_from_its_start_goes_to_one(images):
    each = shards(["packed.tar.gz", "images"], 3)
    packed = [len([n for n in names if n.startswith("packed")]) for names in each]
    assert packed == [10, 0, 0]
    assert sorted(chain(*each)) == sorted(i.name for i in open_inputs(["packed.tar.gz", "images"]))


def test_outputs_of_all_shards_are_the_output(images, tiny_release, capsys):
    base = ["embed", "images", "-m", str(tiny_release), "--threads", "1", "--batch-size", "4"]
    assert run([*base, "-o", "whole.parquet"]) == 0
    for n in (1, 2, 3):
        assert run([*base, "--shard", f"{n}/3", "-o", f"{n}.parquet"]) == 0
    parts = pa.concat_tables([pq.read_table(f"{n}.parquet") for n in (1, 2, 3)])
    whole = pq.read_table("whole.parquet")
    assert parts.column("path").equals(whole.column("path"))
    vectors = [np.stack(table.column("embedding").to_pylist()) for table in (parts, whole)]
    np.testing.assert_allclose(*vectors, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shard", ["0/4", "5/4", "x", "1/0", "-1/4", "1/4/2", ""])
def test_what_is_no_shard_is_one_line(images, tiny_release, capsys, shard):
    assert run(["embed", "images", "-m", str(tiny_release), f"--shard={shard}"]) == 2
    err = capsys.readouterr().err
    assert f"error: shard {shard!r}" in err and "as 1/4" in err and err.count("\n") == 1


def test_more_shards_than_images_are_one_line(images, tiny_release, capsys):
    assert run(["embed", "images", "-m", str(tiny_release), "--shard", "1/11"]) == 2
    assert "11 shards of 10 images; give at most 10" in capsys.readouterr().err
