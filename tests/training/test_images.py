"""Training images: folders become one array in the cache, made once, whole or not at all."""

import numpy as np
import pytest
import torch
from PIL import Image

from cfamc_zoo.errors import DataError, StorageError, UsageError
from cfamc_zoo.training import images as module
from cfamc_zoo.training.images import data_name, recorded, training_images
from cfamc_zoo.training.loop import train
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFAMC_ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def folder(tmp_path):
    """Images of any size and shape, one behind a link, one level down, one broken."""
    draw = np.random.default_rng(0)
    root = tmp_path / "my photos"
    (root / "deep" / "er").mkdir(parents=True)
    for i, shape in enumerate([(40, 60, 3), (24, 24, 3), (100, 30, 3), (50, 50)]):
        image = Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8))
        image.save(root / ("deep/er" if i == 1 else ".") / f"{i}.png")
    (tmp_path / "store").mkdir()
    (root / "3.png").rename(tmp_path / "store" / "3.png")
    (root / "linked").symlink_to(tmp_path / "store")
    (root / "broken.jpg").write_bytes(b"no image")
    (root / "notes.txt").write_text("no image")
    return root


def test_any_image_below_a_folder_is_brought_to_the_size(folder, cache):
    said = []
    found = training_images(str(folder), 24, say=said.append)
    assert found.name == "my photos" and found.images.shape == (4, 24, 24, 3)
    assert isinstance(found.images, np.memmap)
    wanted = [folder / "0.png", folder / "2.png", folder / "deep/er/1.png", folder / "linked/3.png"]
    expected = [read_image(path, Preprocess(size=24)) for path in wanted]
    assert np.array_equal(found.images, np.stack(expected))
    assert said[0] == "left out: 1 .txt"
    assert said[2].startswith("unreadable, left out: 1 of 5 images (1 not an image")
    assert list(cache.iterdir()) == [found.images.filename.parent]


def test_the_array_is_made_once_and_anew_when_a_file_changes(folder, cache, monkeypatch):
    first, said = training_images(str(folder), 24), []
    made = module._make
    monkeypatch.setattr(module, "_make", None)
    again = training_images(str(folder), 24, say=said.append)
    assert np.array_equal(first.images, again.images) and first.digest == again.digest
    assert "unreadable" in said[-1]
    monkeypatch.setattr(module, "_make", made)
    Image.new("RGB", (9, 9)).save(folder / "0.png")
    other = training_images(str(folder), 24)
    assert other.digest != first.digest and not other.images[0].any()
    assert training_images(str(folder), 32).images.shape == (4, 32, 32, 3)


def test_an_array_that_is_not_whole_is_made_again(folder, cache):
    first = training_images(str(folder), 24).images
    with open(first.filename, "r+b") as file:
        file.truncate(100)
    assert training_images(str(folder), 24).images.shape == (4, 24, 24, 3)


def test_what_ends_the_reading_leaves_nothing_behind(folder, cache, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        training_images(str(folder), 24, stop=lambda: True)
    assert list(cache.iterdir()) == []
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: full)
    with pytest.raises(StorageError, match=r"set CFAMC_ZOO_CACHE"):
        training_images(str(folder), 24)


def test_no_image_at_all_is_one_error(tmp_path, cache):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="holds no images"):
        training_images(str(tmp_path), 24)
    (tmp_path / "a.png").write_text("")
    with pytest.raises(DataError, match=r"no image can be trained on.* 1 of 1 .*the file is empty"):
        training_images(str(tmp_path), 24)
    assert list(cache.iterdir()) == []


def test_test_images_are_not_trained_on(folder, cache):
    (folder / "deep").rename(folder / "test")
    (folder / "train").mkdir()
    (folder / "0.png").rename(folder / "train" / "0.png")
    said = []
    found = training_images(str(folder), 24, say=said.append)
    assert len(found.images) == 1 and found.name == "my photos"
    assert said[0] == "note: trained on train/ of my photos, not on test/"


def test_a_named_set_of_another_size_is_resized(sample):
    found = training_images("cifar10-sample", 24)
    assert found.images.shape == (1000, 24, 24, 3)
    assert training_images("cifar10-sample", 32).images is not None


def test_a_folder_is_called_by_its_own_name_and_never_as_a_named_set(tmp_path, monkeypatch):
    (tmp_path / "photos" / "cifar10").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "photos")
    assert data_name(".") == "photos" and data_name(str(tmp_path / "photos") + "/") == "photos"
    assert data_name("cifar10") == "cifar10" and data_name("./cifar10") == "cifar10/"


def test_a_run_goes_on_with_the_same_images_only(folder, cache, tmp_path):
    found = training_images(str(folder), 24)
    found.check(tmp_path)  # of an older run, which did not write them down
    found.record(tmp_path)
    assert recorded(tmp_path) == {"images": 4, "images_sha256": found.digest}
    found.check(tmp_path)
    Image.new("RGB", (9, 9)).save(folder / "0.png")
    with pytest.raises(UsageError, match="started with other images of 'my photos'"):
        training_images(str(folder), 24).check(tmp_path)


def test_a_run_on_a_mapped_array_is_the_run_on_one_in_memory_and_is_resumed(
    make_recipe, images, tmp_path
):
    images.tofile(tmp_path / "pixels.bin")
    mapped = np.memmap(tmp_path / "pixels.bin", np.uint8, "r", shape=images.shape)
    results = []
    for name, data in (("memory", images), ("mapped", mapped), ("mapped", mapped)):
        run = tmp_path / name
        run.mkdir(exist_ok=True)
        stops = iter([False, False, False] if name == "memory" else [False, True])
        stop = (lambda s=stops: next(s, False)) if not results or len(results) == 1 else bool
        result = train(
            make_recipe(max_steps=4),
            data,
            run,
            device=torch.device("cpu"),
            report=lambda _: None,
            stop=stop,
        )
        results.append(result)
    whole, stopped, resumed = results
    assert (whole.step, stopped.step, resumed.step) == (4, 2, 4)
    a, b = whole.encoder.state_dict(), resumed.encoder.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_images_of_another_size_than_the_recipes_are_refused(make_recipe, images, tmp_path):
    with pytest.raises(UsageError, match="--set size=32"):
        train(
            make_recipe(size=48),
            images,
            tmp_path,
            device=torch.device("cpu"),
            report=lambda _: None,
        )
