import io
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import errors
from PIL import Image

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.errors import DataError, UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("name", "classes", "first", "last", "mean"),
    [  # the means of all images, a channel
        ("cifar10-sample", 10, "airplane", "truck", (0.491, 0.482, 0.447)),
        ("cifar100-sample", 100, "apple", "worm", (0.507, 0.487, 0.441)),
    ],
)
def test_a_sample_is_a_thousand_test_images_of_every_class(name, classes, first, last, mean):
    sample = load_dataset(name)
    assert sample.images.shape == (1000, 32, 32, 3)
    assert sample.images.dtype == np.uint8
    assert (sample.classes[0], sample.classes[-1]) == (first, last)
    assert set(sample.labels) == set(range(classes)) == set(range(len(sample.classes)))
    np.testing.assert_allclose(sample.images.mean((0, 1, 2)) / 255, mean, atol=0.02)
    assert len(sample.first(7)) == 7


def test_named_sets_are_found_under_the_data_folder(tmp_path, monkeypatch, sample):
    from importlib import resources

    source = resources.files("cfamc_zoo") / "samples/cifar10-sample.parquet"
    folder = tmp_path / "cifar10" / "plain_text"
    folder.mkdir(parents=True)
    for i in range(2):
        shutil.copy(str(source), folder / f"train-0000{i}-of-00002.parquet")
    monkeypatch.setenv("CFAMC_ZOO_DATA", str(tmp_path))
    both = load_dataset("cifar10", "train")
    assert len(both) == 2000
    assert np.array_equal(both.images[1000:], sample.images)
    with pytest.raises(DataError, match="has no test-"):
        load_dataset("cifar10", "test")


def test_a_set_that_cannot_be_had_says_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.delenv("CFAMC_ZOO_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"set CFAMC_ZOO_DATA .* cifar10/plain_text/") as error:
        load_dataset("cifar10", "test")
    assert "(HF_HUB_OFFLINE is set)" in str(error.value)


HUB_ERRORS = {
    "network": (errors.LocalEntryNotFoundError("An error happened"), "cannot be reached"),
    "files": (errors.EntryNotFoundError("404"), "it has no such files"),
    "else": (RuntimeError("the disk\nis on fire"), "(the disk is on fire)"),
}


@pytest.mark.parametrize("case", HUB_ERRORS)
def test_why_a_set_cannot_be_had_is_said_in_words(monkeypatch, case):
    raised, said = HUB_ERRORS[case]

    def fail(*arguments, **named):
        raise raised

    monkeypatch.delenv("CFAMC_ZOO_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(DataError) as error:
        load_dataset("cifar10", "test")
    assert said in str(error.value)
    assert type(raised).__name__ not in str(error.value)


def test_unknown_names_and_splits():
    with pytest.raises(UnknownNameError, match="did you mean cifar100"):
        load_dataset("cifar1000")
    with pytest.raises(UsageError, match="test images only"):
        load_dataset("cifar10-sample", "train")


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A file that is all of CIFAR-10's test split."""
    path = tmp_path / "cifar10/plain_text/test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("CFAMC_ZOO_DATA", str(tmp_path))
    return path


def test_parquet_that_is_not_ours(stored):
    stored.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="is not Parquet with images"):
        load_dataset("cifar10")
    pq.write_table(pa.table({"label": [1, 2]}), stored)
    with pytest.raises(DataError, match="is not Parquet with images"):
        load_dataset("cifar10")


def test_only_the_rows_that_are_asked_for_are_decoded(stored, sample):
    content = io.BytesIO()
    Image.fromarray(sample.images[0]).save(content, "png")
    images = [content.getvalue(), content.getvalue(), b"junk"]
    column = pa.array([{"bytes": image, "path": None} for image in images])
    pq.write_table(pa.table({"img": column, "label": [1, 0, 1]}), stored)
    two = load_dataset("cifar10", limit=2)
    assert (len(two), list(two.labels)) == (2, [1, 0])
    assert np.array_equal(two.images[1], sample.images[0])
    with pytest.raises(DataError, match="'cifar10': image 2 cannot be decoded"):
        load_dataset("cifar10")
