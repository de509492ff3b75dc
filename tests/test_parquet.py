"""Images in Parquet: which files, columns and labels; and every command that reads them."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import DataError
from cfamc_zoo.parquet import count_rows, find_parquet, iterate_encoded, read_encoded
from cfamc_zoo.training.images import training_images
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess


def png(seed, shape=(40, 32, 3)):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write(path, contents, labels=None, *, names=None, column="image"):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {column: [{"bytes": content, "path": None} for content in contents]}
    if labels is not None:
        table["label"] = labels
    table = pa.table(table)
    if names:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=3)
    return path


def test_files_are_found_by_part_at_any_depth(tmp_path):
    assert find_parquet(tmp_path) == {} and find_parquet(tmp_path / "no.parquet") == {}
    train = write(tmp_path / "data" / "train-00000-of-00001.parquet", [png(0)])
    assert find_parquet(tmp_path) == {"": [train]} and find_parquet(train) == {"": [train]}
    test = write(tmp_path / "data" / "validation-00000-of-00001.parquet", [png(1)])
    assert find_parquet(tmp_path) == {"train": [train], "test": [test]}
    write(tmp_path / "data" / "trainers.parquet", [png(1)])
    assert find_parquet(tmp_path) == {"train": [train], "test": [test]}


@pytest.mark.parametrize(
    ("labels", "names", "numbers", "classes"),
    [
        ([2, 0, 1, 1], ["a", "b", "c"], [2, 0, 1, 1], ("a", "b", "c")),
        ([7, 3, 7, 3], None, [1, 0, 1, 0], ("3", "7")),
        (["tea", "sea", "sea", "tea"], None, [1, 0, 0, 1], ("sea", "tea")),
        (None, None, [0, 0, 0, 0], ()),
    ],
)
def test_labels_are_numbers_into_names(tmp_path, labels, names, numbers, classes):
    contents = [png(i) for i in range(4)]
    path = write(tmp_path / "x.parquet", contents, labels, names=names, column="img")
    found = read_encoded([path])
    assert list(found.images) == contents and list(iterate_encoded([path, path])) == 2 * contents
    assert found.labels.tolist() == numbers and found.labels.dtype == np.int64
    assert found.classes == classes
    assert count_rows([path, path]) == 8


def test_what_cannot_be_read_is_one_line(tmp_path):
    path = write(tmp_path / "x.parquet", [png(0)] * 2, [0, 5], names=["a", "b"])
    with pytest.raises(DataError, match=r"a label is 5; labels must be 0\.\.1"):
        read_encoded([path])
    write(path, [png(0)] * 2, ["a", None])
    with pytest.raises(DataError, match="a label is None"):
        read_encoded([path])
    pq.write_table(pa.table({"words": ["a"]}), path)
    for read in (read_encoded, lambda files: list(iterate_encoded(files))):
        with pytest.raises(DataError, match="is not Parquet with images") as raised:
            read([path])
        assert "\n" not in str(raised.value)


def test_training_takes_the_images_of_the_train_files(tmp_path, monkeypatch):
    monkeypatch.setenv("CFAMC_ZOO_CACHE", str(tmp_path / "cache"))
    contents, said = [png(i) for i in range(7)], []
    folder = tmp_path / "set"
    write(folder / "train-0.parquet", [*contents[:4], None])
    write(folder / "train-1.parquet", [*contents[4:], b"no image"])
    write(folder / "test-0.parquet", [png(9)])
    found = training_images(str(folder), 24, say=said.append)
    expected = [read_image(content, Preprocess(size=24)) for content in contents]
    assert np.array_equal(found.images, np.stack(expected)) and found.name == "set"
    assert said[0] == "note: trained on the train files of set, not on the test files"
    assert "left out: 2 of 9 images" in said[-1] and "the row holds no image" in said[-1]


@pytest.fixture
def zoo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        assert run([*map(str, arguments), "--json"]) == code
        captured = capsys.readouterr()
        return json.loads(captured.out) if captured.out else captured.err

    return call


def test_a_head_is_fitted_to_train_files_and_attacked_on_test_files(zoo, tiny_release, tmp_path):
    def two(n, first):
        """Dark ones and bright ones."""
        shape = (32, 32, 3)
        pixels = [np.full(shape, 20 + 200 * (i % 2) + i % 5, np.uint8) for i in range(n)]
        contents = []
        for image in pixels:
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            contents.append(content.getvalue())
        return contents, [["dark", "bright"][i % 2] for i in range(n)][:n]

    write(tmp_path / "set/train.parquet", *two(20, 0))
    write(tmp_path / "set/test.parquet", *two(6, 1))
    head = tmp_path / "h.safetensors"
    fitted = zoo("probe", "-m", tiny_release, "--data", "set", "-o", head)
    assert (fitted["train_images"], fitted["n"], fitted["test_accuracy"]) == (20, 6, 100)
    command = ("attack", "-m", tiny_release, "--data", "set", "--probe", head, "--steps", 1)
    assert zoo(*command)["results"][0]["n"] == 6
    measured = zoo(*command, "--limit", 4)
    assert measured["results"][0]["n"] == 4 and measured["results"][0]["value"] == 100
    assert str(tmp_path / "set") in measured["command"]
    one = zoo("attack", "-m", tiny_release, "--data", "set/test.parquet", "--probe", head)
    assert one["results"][0]["n"] == 6
    write(tmp_path / "bad.parquet", [b"junk", *two(3, 0)[0]], ["dark"] * 4)
    assert "image 0 cannot be used" in zoo(*command[:4], "bad.parquet", *command[5:], code=1)
