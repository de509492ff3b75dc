"""JPEG that is decoded at a fraction of its size: the picture of full decoding, and less work."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images import preprocess
from cfamc_zoo.zoo.images.preprocess import fit, read_image
from cfamc_zoo.zoo.images.reduction import LEAST, reduce_decoding
from cfamc_zoo.zoo.network.spec import Preprocess
from tests.zoo.test_colour import P3, of_primaries, srgb_formula

SPEC = Preprocess()
ORIENTATION = 0x0112


def photo(width, height):
    """Waves that half a pixel of the input moves by far more than the tests allow, and grain."""
    y, x = np.mgrid[0:height, 0:width] * (2 * np.pi / min(width, height))
    waves = [np.sin(4 * x + 2 * y), np.cos(3 * y - x), np.sin(5 * x) * np.cos(4 * y)]
    grain = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return Image.fromarray((127 + 90 * np.stack(waves, -1) + grain).clip(0, 255).astype(np.uint8))


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 95, **options})
    return file.getvalue()


def opened(content):
    return Image.open(io.BytesIO(content))


def decoded_in_full(content):
    """The model's input, of an image whose pixels were all decoded before."""
    image = opened(content)
    image.load()
    return fit(image, SPEC).astype(int)


def assert_the_same_picture(content):
    """Within some steps of 255; a shift by half a decoded pixel is far more."""
    difference = np.abs(read_image(content, SPEC) - decoded_in_full(content))
    assert difference.max() <= 8 and difference.mean() < 1


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [(64, 64, 1), (127, 500, 1), (128, 500, 2), (301, 255, 2), (256, 999, 4), (513, 4000, 8)],
)
def test_the_largest_reduction_that_leaves_twice_the_input(width, height, scale):
    image = opened(jpeg(photo(width, height)))
    assert reduce_decoding(image, SPEC.size).scale == scale
    assert image.size == (-(-width // scale), -(-height // scale))
    assert min(image.size) >= LEAST * SPEC.size
    assert np.asarray(image).shape[:2] == image.size[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("width", "height"), [(1033, 525), (525, 1033)])
def test_every_orientation_is_the_picture_of_full_decoding(orientation, width, height):
    """No side is a multiple of 8, so that decoding goes on by up to 0.9 pixels beyond its end."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = jpeg(photo(width, height), exif=exif)
    assert_the_same_picture(content)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"progressive": True}),
        ("RGB", {"icc_profile": of_primaries(P3, srgb_formula())}),
        ("L", {}),
        ("CMYK", {}),
    ],
    ids=["444", "progressive", "Display P3", "grey", "CMYK"],
)
def test_every_kind_of_jpeg_is_the_picture_of_full_decoding(mode, options):
    content = jpeg(photo(523, 617).convert(mode), **options)
    assert reduce_decoding(opened(content), SPEC.size).scale == 8
    assert_the_same_picture(content)


def test_several_pictures_in_one_file():
    """As phones write them: JPEG by another name."""
    file = io.BytesIO()
    photo(640, 512).save(file, "MPO", save_all=True, append_images=[photo(64, 64)], quality=95)
    assert opened(file.getvalue()).format == "MPO"
    assert reduce_decoding(opened(file.getvalue()), SPEC.size).scale == 8
    assert_the_same_picture(file.getvalue())


def test_an_opened_image_is_read_like_its_file_and_stays_the_callers():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = jpeg(photo(640, 480), icc_profile=srgb)
    image = opened(content)
    assert np.array_equal(read_image(image, SPEC), read_image(content, SPEC))
    assert image.size == (640, 480)
    assert np.array_equal(np.asarray(image), np.asarray(opened(content)))


def test_what_the_caller_did_to_an_opened_image_counts():
    content = jpeg(photo(640, 480), icc_profile=of_primaries(P3, srgb_formula()))
    image = opened(content)
    del image.info["icc_profile"]
    assert np.array_equal(read_image(image, SPEC), read_image(jpeg(photo(640, 480)), SPEC))
    content = jpeg(photo(640, 480))
    smaller = opened(content)
    smaller.draft(None, (80, 60))
    again = opened(content)
    again.draft(None, (80, 60))
    assert np.array_equal(read_image(smaller, SPEC), fit(again.convert("RGB"), SPEC))
    assert smaller.size == (80, 60)


def test_a_large_file_that_is_cut_is_refused():
    content = jpeg(photo(640, 480))
    with pytest.raises(DataError, match="truncated"):
        read_image(content[: len(content) // 2], SPEC)


def test_the_limit_counts_the_pixels_that_are_stored(monkeypatch):
    monkeypatch.setattr(preprocess, "PIXEL_LIMIT", 640 * 480 - 1)
    with pytest.raises(DataError, match="640 x 480"):
        read_image(jpeg(photo(640, 480)), SPEC)
