"""Whatever a Python caller hands to `embed`: the right rows, or one line that says what to give."""

import io
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.embedding.sources import one_by_one, pixels_of
from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess

SPEC = Preprocess()
RANDOM = np.random.default_rng(0)
# Neither square nor of the model's size, and no two alike.
COLOURS = RANDOM.integers(0, 256, (5, 40, 50, 3), dtype=np.uint8)
GREYS = RANDOM.integers(0, 256, (5, 40, 50), dtype=np.uint8)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


FILES = [png(pixels) for pixels in COLOURS]
ROWS = np.stack([read_image(content, SPEC) for content in FILES]).astype(np.float32) / 255
GREY_ROWS = np.stack([read_image(png(pixels), SPEC) for pixels in GREYS]).astype(np.float32) / 255


def rows_of(images):
    """What the model is given: (N, S, S, 3) in [0, 1]."""
    read = [pixels_of(image, i, SPEC) for i, image in enumerate(one_by_one(images))]
    assert all(r.shape == (32, 32, 3) and r.dtype in (np.uint8, np.float32) for r in read)
    return np.array([r / np.float32(255) if r.dtype == np.uint8 else r for r in read])


@pytest.fixture
def paths(tmp_path):
    found = [tmp_path / f"{i}.png" for i in range(5)]
    for path, content in zip(found, FILES, strict=True):
        path.write_bytes(content)
    return found


def test_one_of_a_kind_is_one_row(paths):
    tensor = torch.from_numpy(COLOURS[0].copy())
    kinds = [
        *(str(paths[0]), paths[0], os.fsencode(paths[0]) and FILES[0], bytearray(FILES[0])),
        *(Image.fromarray(COLOURS[0]), Image.open(paths[0]), io.BytesIO(FILES[0])),
        *({"bytes": FILES[0], "path": None}, {"bytes": None, "path": str(paths[0])}),
        *(COLOURS[0], tensor, tensor.permute(2, 0, 1), COLOURS[0] / 255),
    ]
    for kind in kinds:
        np.testing.assert_allclose(rows_of(kind), ROWS[:1], atol=1.5 / 255, err_msg=str(kind)[:80])
    with paths[0].open("rb") as file:
        file.read()  # as Pillow does, an open file is read from its start
        assert np.array_equal(rows_of(file), ROWS[:1])


def test_many_of_a_kind_are_as_many_rows_in_their_order(paths):
    tensor = torch.from_numpy(COLOURS.copy())
    kinds = [
        *(paths, tuple(map(str, paths)), (path for path in paths), np.array(list(map(str, paths)))),
        *(pd.Series(list(map(str, paths))), pd.Series(FILES), pa.array(list(map(str, paths)))),
        *([Image.fromarray(c) for c in COLOURS], FILES, map(io.BytesIO, FILES)),
        *([{"bytes": content} for content in FILES], dict(enumerate(paths)).values()),
        *(
            COLOURS,
            list(COLOURS),
            COLOURS.transpose(0, 3, 1, 2),
            list(COLOURS.transpose(0, 3, 1, 2)),
        ),
        *(tensor, tensor.permute(0, 3, 1, 2), list(tensor.permute(0, 3, 1, 2))),
        [paths[0], COLOURS[1], FILES[2], Image.fromarray(COLOURS[3]), tensor[4]],
    ]
    for kind in kinds:
        assert np.array_equal(rows_of(kind), ROWS), str(kind)[:80]


def test_greys():
    for kind in (GREYS, list(GREYS), GREYS[..., None], GREYS[:, None], torch.from_numpy(GREYS)):
        assert np.array_equal(rows_of(kind), GREY_ROWS)
    for kind in (GREYS[0], GREYS[0][..., None], GREYS[:1], torch.from_numpy(GREYS[:1])):
        assert np.array_equal(rows_of(kind), GREY_ROWS[:1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_read_without_rounding_to_8_bits(dtype):
    exact = RANDOM.random((2, 32, 32, 3)).astype(dtype)
    assert np.array_equal(rows_of(exact), exact.astype(np.float32))
    resized = rows_of((COLOURS / 255).astype(dtype))
    assert np.abs(resized - ROWS).max() < 1.5 / 255
    assert not np.array_equal(resized, ROWS)


def test_tensors_that_numpy_cannot_take_as_they_are():
    images = torch.rand(2, 3, 32, 32).bfloat16()
    expected = images.float().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(rows_of(images.requires_grad_()), expected)


def test_16_bits_count_to_65535():
    rows = rows_of(COLOURS.astype(np.uint16) * 257)
    assert np.abs(rows - ROWS).max() < 1.5 / 255


def test_no_images_are_no_rows():
    for nothing in (
        [],
        (),
        np.empty((0, 32, 32, 3), np.uint8),
        torch.empty(0, 3, 32, 32),
        iter(()),
    ):
        assert list(one_by_one(nothing)) == []


class Closed(io.BytesIO):
    def seekable(self):
        raise ValueError("I/O operation on closed file")


UINT8 = np.zeros((32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "what was given is None; give paths, Pillow images"),
        (7, "of type int; give paths"),
        ([None], "image 0 cannot be read: it is None; give paths"),
        ([UINT8, (UINT8, 3)], "image 1 cannot be read: it is of type tuple"),
        ({1, 2}, "a set has no order"),
        ("gone.png", "image 0, 'gone.png', cannot be read: No such file"),
        (["a\0b"], "image 0, .* cannot be read: damaged: embedded null"),
        ([UINT8, b"text"], "image 1 cannot be read: not an image"),
        (b"", "image 0 cannot be read: the file is empty"),
        (".", "image 0, '.', cannot be read: a folder; give its files"),
        (io.StringIO("text"), "opened as text; open it with mode 'rb'"),
        (Closed(), "I/O operation on closed file"),
        ({"image": UINT8, "label": 3}, r"the keys \['image', 'label'\]; give the image in it"),
        ({"bytes": None, "path": None}, "bytes or path"),
        ([{"path": "gone.png"}], "image 0, 'gone.png', cannot be read: No such file"),
        (
            np.zeros((3, 40, 50), np.uint8),
            r"may be one image.* or 3 grey ones; give \(1, 3, 40, 50",
        ),
        (np.zeros((4, 40, 50), np.uint8), "may be one image"),
        (np.zeros((32, 32, 4), np.uint8), r"image 0 is uint8 \(32, 32, 4\); give .*\(H, W, 3\)"),
        (np.zeros((2, 4, 32, 32), np.uint8), r"image 0 is uint8 \(4, 32, 32\)"),
        ([UINT8, UINT8[None]], r"image 1 is uint8 \(1, 32, 32, 3\)"),
        (np.zeros(9, np.uint8), r"the array is uint8 \(9,\); give"),
        (np.uint8(3), r"the array is uint8 \(\)"),
        (np.zeros((1, 1, 32, 32, 3), np.uint8), "the array is uint8"),
        (np.zeros((2, 0, 32, 3), np.uint8), r"image 0 is uint8 \(0, 32, 3\)"),
        (UINT8.astype(np.int64), "image 0 is int64"),
        (UINT8.astype(bool), "image 0 is bool"),
        (UINT8.astype(complex), "image 0 is complex128"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "image 0 is int64"),
        (UINT8 + np.float32(255), r"floats of 255 to 255; they must be in \[0, 1\]: divide by 255"),
        (
            [UINT8, UINT8 - np.float32(2)],
            "image 1 has floats of -2 to -2; .* undo what scaled them",
        ),
        (np.full((32, 32), np.nan), "image 0 has floats of nan"),
        (Image.new("F", (32, 32), 200), "image 0 cannot be read: floats of 200"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else type(value).__name__,
)
def test_what_has_no_clear_meaning_is_one_line(given, said):
    with pytest.raises(DataError, match=said) as refusal:
        rows_of(given)
    assert "\n" not in str(refusal.value)


def test_the_rows_are_vectors(tiny_release, paths):
    options = {"model": str(tiny_release)}
    every = cfamc_zoo.embed(COLOURS, **options)
    assert every.shape == (5, 32)
    for one in (str(paths[0]), Image.fromarray(COLOURS[0]), COLOURS[0], {"bytes": FILES[0]}):
        np.testing.assert_allclose(cfamc_zoo.embed(one, **options), every[:1], atol=1e-6)
    generated = cfamc_zoo.embed((path for path in paths), batch_size=2, **options)
    np.testing.assert_allclose(generated, every, atol=1e-6)
    floats = torch.rand(3, 3, 32, 32)
    expected = cfamc_zoo.load(str(tiny_release))(floats).numpy()
    scale = np.abs(expected).max()
    assert np.abs(cfamc_zoo.embed(floats, **options) - expected).max() < 1e-5 * scale
