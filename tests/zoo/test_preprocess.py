"""Any image to the model's input."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageFile
from torchvision.transforms import functional as F

from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.zoo.images import preprocess
from cfamc_zoo.zoo.images.preprocess import read_image, to_input
from cfamc_zoo.zoo.network.spec import Preprocess
from tests.bombs import bomb

SPEC = Preprocess()


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def random_rgb(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(mode, value, size=(40, 50)):
    return Image.new(mode, size, value)


def test_an_image_of_the_right_size_stays_as_it_is_pixel_by_pixel():
    pixels = random_rgb(32, 32)
    assert np.array_equal(read_image(encode(Image.fromarray(pixels)), SPEC), pixels)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (31, 33), (200, 90), (7, 500), (1, 1)])
def test_other_sizes_are_resized_by_the_shorter_side_and_cropped_in_the_centre(height, width):
    image = Image.fromarray(random_rgb(height, width))
    got = read_image(encode(image), SPEC)
    assert got.shape == (32, 32, 3)
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    scale = 32 / side
    # The definition, from the whole resized image, where its size comes out whole.
    if (width * scale).is_integer() and (height * scale).is_integer():
        whole = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
        x, y = left * scale, top * scale
        if x.is_integer() and y.is_integer():
            centre = np.asarray(whole)[int(y) : int(y) + 32, int(x) : int(x) + 32]
            inner = slice(2, -2)  # the filter sees past the crop only in the whole image
            assert np.abs(centre[inner, inner].astype(int) - got[inner, inner]).max() <= 2


def test_shrinking_does_not_alias():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    got = read_image(encode(Image.fromarray(stripes)), SPEC)
    assert np.abs(got.astype(int) - 127).max() <= 6  # at the border; 128 where it aliases


@pytest.mark.parametrize(
    ("image", "kind", "rgb"),
    [
        (flat("L", 77), "PNG", (77, 77, 77)),
        (flat("1", 1), "PNG", (255, 255, 255)),
        (flat("RGBA", (10, 20, 30, 255)), "PNG", (10, 20, 30)),
        (flat("RGBA", (0, 0, 0, 0)), "PNG", (255, 255, 255)),
        (flat("LA", (0, 128)), "PNG", (127, 127, 127)),
        (flat("CMYK", (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (flat("I;16", 0x8080), "PNG", (128, 128, 128)),
        (flat("I;16", 0x8080), "TIFF", (128, 128, 128)),
        (flat("F", 0.5), "TIFF", (128, 128, 128)),
        (flat("P", 0).convert("RGB").quantize(4), "PNG", (0, 0, 0)),
    ],
    ids=lambda v: getattr(v, "mode", None),
)
def test_every_mode_becomes_rgb(image, kind, rgb):
    got = read_image(encode(image, kind), SPEC)
    assert np.abs(got.astype(int) - rgb).max() <= 1


def test_a_palettes_transparency_is_laid_over_white():
    image = flat("RGB", (0, 0, 0)).quantize(4)
    image.info["transparency"] = 0
    assert (read_image(encode(image, transparency=0), SPEC) == 255).all()


def test_exif_orientation_is_applied():
    pixels = random_rgb(32, 32)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise by a quarter
    got = read_image(encode(Image.fromarray(pixels), exif=turned), SPEC)
    assert np.array_equal(got, np.rot90(pixels, -1))


def test_the_first_frame_of_an_animation():
    frames = [flat("L", value, (32, 32)) for value in (0, 255)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (read_image(content, SPEC) == 0).all()


def test_what_is_no_image_has_a_reason(tmp_path):
    whole = encode(Image.fromarray(random_rgb(64, 64)))
    jpeg = encode(Image.fromarray(random_rgb(64, 64)), "JPEG")
    cases = {
        "the file is empty": b"",
        "not an image": b"hello, this is text",
        "truncated": jpeg[: len(jpeg) // 2],
    }
    for said, content in cases.items():
        with pytest.raises(DataError, match=said):
            read_image(content, SPEC)
    with pytest.raises(DataError, match=r".+"):
        read_image(whole[: len(whole) // 2], SPEC)
    with pytest.raises(DataError, match="No such file"):
        read_image(tmp_path / "gone.png", SPEC)
    with pytest.raises(DataError, match="directory"):
        read_image(tmp_path, SPEC)


def test_damage_at_any_place_is_a_data_error_or_an_image():
    """A thousand damaged files: nothing but DataError, and nothing but the right shape."""
    random = np.random.default_rng(1)
    sources = [
        encode(Image.fromarray(random_rgb(40, 40)), kind) for kind in ("PNG", "JPEG", "GIF", "TIFF")
    ]
    refused = 0
    for i in range(1000):
        content = bytearray(sources[i % len(sources)])
        for at in random.integers(0, len(content), 3):
            content[at] = random.integers(256)
        try:
            assert read_image(bytes(content), SPEC).shape == (32, 32, 3)
        except DataError:
            refused += 1
    assert 50 < refused < 950


@pytest.mark.parametrize(
    "error", [RuntimeError, NotImplementedError, struct.error, OverflowError, EOFError]
)
def test_whatever_a_decoder_raises_is_one_bad_file(monkeypatch, error):
    """Damaged AVIF, DDS and WebP files raise these from inside Pillow."""

    def refuse(image):
        raise error("from the decoder")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    with pytest.raises(DataError, match="damaged: from the decoder"):
        read_image(encode(Image.fromarray(random_rgb(8, 8))), SPEC)


def test_a_bomb_is_refused_before_it_is_decoded():
    for content in (bomb(), bomb(preprocess.PIXEL_LIMIT // 1000 + 1, 1000)):
        assert len(content) < 2**20
        with pytest.raises(DataError, match="pixels"):
            read_image(content, SPEC)


def test_input_is_in_zero_to_one_and_channels_first():
    images = random_rgb(32, 32)[None]
    x = to_input(images)
    assert x.shape == (1, 3, 32, 32)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[0, 1], images[0, :, :, 1].astype(np.float32) / 255)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(100, 140), (32, 32), (33, 47)])
def test_a_crop_is_the_centre_of_the_whole_image_resized(height, width, interpolation):
    spec = Preprocess(size=32, crop=0.8, interpolation=interpolation)
    assert spec.shorter_side == 40
    pixels = random_rgb(height, width)
    whole = F.resize(Image.fromarray(pixels), 40, F.InterpolationMode(interpolation))
    expected = np.asarray(F.center_crop(whole, [32, 32])).astype(int)
    got = read_image(encode(Image.fromarray(pixels)), spec)
    assert np.abs(got - expected).max() <= 2  # a box in floats, rounded twice
    floats = preprocess.fit_floats(pixels.astype(np.float32) / 255, spec)
    assert np.abs(floats * 255 - got).max() <= 1.01
    assert np.array_equal(preprocess.fit_all(pixels[None], spec)[0], got)


def test_a_config_knows_of_a_crop_where_there_is_one():
    assert "crop" not in SPEC.to_json()
    spec = Preprocess(crop=0.875, interpolation="bilinear")
    assert Preprocess(**spec.to_json()) == spec


@pytest.mark.parametrize("wrong", [{"crop": 0}, {"crop": True}, {"crop": 1.5}, {"crop": "1"}])
def test_an_impossible_crop(wrong):
    with pytest.raises(UsageError, match="crop is .*; it must be a number in"):
        Preprocess(**wrong)
