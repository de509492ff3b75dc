"""`cfamc_zoo.embed`: files and arrays to vectors in memory."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.cli.commands import embed as command
from cfamc_zoo.errors import UnknownNameError, UsageError


def test_files_and_arrays_give_the_encoders_vectors_in_order(tiny_release, tmp_path, sample):
    images = list(sample.images[:40])
    expected = cfamc_zoo.load(str(tiny_release))(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
    ).numpy()
    Image.fromarray(images[3]).save(tmp_path / "three.png")
    Image.fromarray(images[35]).save(tmp_path / "later.png")
    mixed = [*images]
    mixed[3], mixed[35] = tmp_path / "three.png", str(tmp_path / "later.png")
    atol = 1e-5 * np.abs(expected).max()
    for given in (mixed, np.stack(images)):
        vectors = cfamc_zoo.embed(given, model=str(tiny_release))
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=atol)


def test_an_array_of_another_size_is_what_its_file_is(tiny_release, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "i.png")
    options = {"model": str(tiny_release), "features": "representation", "normalize": True}
    array, file = cfamc_zoo.embed([pixels, tmp_path / "i.png"], **options)
    np.testing.assert_allclose(array, file, atol=1e-6)
    assert np.linalg.norm(array) == pytest.approx(1, abs=1e-5)


def test_no_images_are_no_rows(tiny_release):
    assert cfamc_zoo.embed([], model=str(tiny_release)).shape == (0, 32)


def test_names_and_values_are_the_command_lines(tiny_release, sample):
    """Each option of `cfamc-zoo embed` that concerns vectors is a keyword of the same name."""
    by_flag = set(inspect.signature(command.embed).parameters)
    by_keyword = set(inspect.signature(cfamc_zoo.embed).parameters) - {"images"}
    of_files = {
        *("inputs", "null", "out", "columns", "overwrite", "update", "by", "on_error", "json"),
        *("dtype", "workers", "shard"),  # of the stream and of clusters
    }
    assert by_flag - by_keyword == of_files
    assert by_keyword <= by_flag
    options = {"model": str(tiny_release), "backend": "torch", "device": "cpu", "threads": 1}
    images = sample.images[:5]
    by_torch = cfamc_zoo.embed(images, features="projection", batch_size=2, **options)
    assert by_torch.shape == (5, 16)


def test_what_does_not_exist_is_named(tiny_release):
    with pytest.raises(UnknownNameError, match="did you mean backbone"):
        cfamc_zoo.embed([], model=str(tiny_release), features="backbon")
    with pytest.raises(UsageError, match="batch_size is 0; it must be 1 or more"):
        cfamc_zoo.embed([], model=str(tiny_release), batch_size=0)
