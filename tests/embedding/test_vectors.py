"""`cfamc_zoo.embed`: files and arrays to vectors in memory."""

import numpy as np
import pytest
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.errors import DataError, UnknownNameError


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
    options = {"model": str(tiny_release), "feature": "representation", "scaling": "unit"}
    array, file = cfamc_zoo.embed([pixels, tmp_path / "i.png"], **options)
    np.testing.assert_allclose(array, file, atol=1e-6)
    assert np.linalg.norm(array) == pytest.approx(1, abs=1e-5)


def test_no_images_are_no_rows(tiny_release):
    assert cfamc_zoo.embed([], model=str(tiny_release)).shape == (0, 32)


def test_what_cannot_be_embedded_is_named(tiny_release, tmp_path, sample):
    model = str(tiny_release)
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(DataError, match="image 1, .*text.png.*not an image"):
        cfamc_zoo.embed([sample.images[0], tmp_path / "text.png"], model=model)
    with pytest.raises(DataError, match="image 0 is float32"):
        cfamc_zoo.embed(np.zeros((2, 32, 32, 3), np.float32), model=model)
    with pytest.raises(DataError, match=r"image 0 is uint8 \(32, 32, 4\)"):
        cfamc_zoo.embed([np.zeros((32, 32, 4), np.uint8)], model=model)
    with pytest.raises(UnknownNameError, match="did you mean unit"):
        cfamc_zoo.embed([], model=model, scaling="units")
