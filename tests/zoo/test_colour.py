"""Colour profiles, built byte by byte, against the formulas that define them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from cfamc_zoo.zoo.images import colour, preprocess
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess

SPEC = Preprocess()

# Columns: XYZ of red, green and blue in D50.
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]]
)
P3 = np.array(
    [[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
ADOBE = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(n * 65536)) for n in numbers)


def xyz(*numbers):
    return b"XYZ \0\0\0\0" + fixed(*numbers)


def gamma(exponent):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def srgb_table(points=1024):
    """sRGB's curve as the profiles of cameras and scanners hold it."""
    values = np.rint(to_linear(np.linspace(0, 1, points)) * 65535)
    return b"curv\0\0\0\0" + struct.pack(f">I{points}H", points, *values.astype(int))


def srgb_formula():
    """Parametric, type 3: (a x + b) ^ g, or c x below d."""
    return b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(space, tags, kind=b"mntr", connection=b"XYZ "):
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + b"\0" * 78, **tags}
    tags = {b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    start, table, data = 132 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body + b"\0" * (-len(body) % 4)
    header = struct.pack(">I4sI", start + len(data), b"lcms", 0x02400000) + kind + space
    header += connection + b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(0.9642, 1, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def of_primaries(matrix, curve):
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)
    tags = {name: xyz(*column) for name, column in columns}
    return profile(b"RGB ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def of_ink(**inks):
    """CMYK where each of the 16 full mixtures has a colour of its own: CIELAB by bits "1000"."""
    labs = bytearray()
    for mixture in range(16):
        lightness, a, b = inks.get(f"m{mixture:04b}", (100.0 if mixture == 0 else 0.0, 0, 0))
        labs += bytes((round(lightness * 2.55), 128 + a, 128 + b))
    straight = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += straight * 4 + bytes(labs) + straight * 3
    return profile(b"CMYK", {b"A2B0": table}, b"prtr", b"Lab ")


def to_linear(x):
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def from_linear(x):
    x = x.clip(0, 1)
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


def shown(pixels, matrix, linear):
    """What a viewer shows: through XYZ to sRGB, in float64."""
    xyz_of = linear(pixels / 255) @ matrix.T
    return from_linear(xyz_of @ np.linalg.inv(SRGB).T) * 255


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def colours(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def difference(content, expected):
    return np.abs(read_image(content, SPEC).astype(float) - expected).max()


@pytest.mark.parametrize(
    ("matrix", "curve", "linear"),
    [
        (P3, srgb_formula(), to_linear),
        (P3, srgb_table(), to_linear),
        (ADOBE, gamma(563 / 256), lambda x: x ** (563 / 256)),
        (SRGB, gamma(1.8), lambda x: x ** (461 / 256)),
        (P3, gamma(1.0), lambda x: x),
    ],
    ids=["Display P3", "Display P3 by table", "Adobe RGB", "gamma 1.8", "linear"],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_are_what_the_profile_means(matrix, curve, linear, kind):
    pixels = colours()
    options = {"lossless": True} if kind == "WEBP" else {}
    icc = of_primaries(matrix, curve)
    content = encode(Image.fromarray(pixels), kind, icc_profile=icc, **options)
    expected = shown(pixels, matrix, linear)
    assert np.abs(expected - pixels).max() > 10  # or the test would see nothing
    assert difference(content, expected) <= 2


def test_a_jpeg_of_a_phone():
    y, x = np.mgrid[0:64, 0:64]
    pixels = np.stack([200 - x, 60 + 2 * y, 40 + x], -1).astype(np.uint8)
    icc = of_primaries(P3, srgb_formula())
    jpeg = encode(Image.fromarray(pixels), "JPEG", quality=100, subsampling=0, icc_profile=icc)
    as_srgb = Image.fromarray(np.rint(shown(pixels, P3, to_linear)).astype(np.uint8))
    assert difference(jpeg, read_image(as_srgb, SPEC)) <= 3


@pytest.mark.parametrize(
    "icc",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        of_primaries(SRGB, srgb_table()),
        of_primaries(SRGB.round(4), srgb_table(4096)),
        of_primaries(SRGB, srgb_formula()),
    ],
    ids=["lcms", "table", "rounded", "formula"],
)
def test_srgb_by_any_name_does_not_change_a_byte(icc):
    pixels = colours()
    assert difference(encode(Image.fromarray(pixels), icc_profile=icc), pixels) == 0
    assert colour.to_srgb(icc, "RGB") is None


def test_gamma_is_not_srgb():
    """Its primaries are, and most of its greys; the dark ones are not."""
    pixels = np.full((32, 32, 3), 10, np.uint8)
    icc = of_primaries(SRGB, gamma(2.2))
    expected = from_linear(np.float64((10 / 255) ** 2.2)) * 255
    assert abs(expected - 10) > 5
    assert difference(encode(Image.fromarray(pixels), icc_profile=icc), expected) <= 1


@pytest.mark.parametrize("depth", [8, 16])
def test_grey_profiles(depth):
    """Linear light in 16 bits: a step of 8 bits would be 13 of sRGB's in the dark."""
    ramp = np.linspace(0, 1, 1024).reshape(32, 32)
    stored = np.rint(ramp * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    icc = profile(b"GRAY", {b"kTRC": gamma(1.0)})
    expected = from_linear(stored / (2**depth - 1))[..., None] * 255
    assert difference(encode(Image.fromarray(stored), icc_profile=icc), expected) <= 1.5
    plain = profile(b"GRAY", {b"kTRC": srgb_table()})
    stored = np.arange(1024).reshape(32, 32).astype(np.uint8)
    assert difference(encode(Image.fromarray(stored), icc_profile=plain), stored[..., None]) == 0


def test_cmyk_through_its_profile_and_without_one():
    image = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    assert difference(encode(image, "TIFF"), (0, 255, 255)) == 0
    icc = of_ink(m1000=(50, 0, 0), m0110=(54, 81, 70))
    middle = 118.9  # of sRGB: L* 50
    assert difference(encode(image, "TIFF", icc_profile=icc), middle) <= 2
    assert difference(encode(image, "JPEG", icc_profile=icc, quality=100), middle) <= 4
    image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert difference(encode(image, "TIFF", icc_profile=icc), (255, 0, 0)) <= 8


def test_colours_are_converted_before_transparency_is_laid_over_white():
    pixels = colours()
    alpha = np.full((32, 32, 1), 102, np.uint8)
    image = Image.fromarray(np.concatenate([pixels, alpha], 2))
    content = encode(image, icc_profile=of_primaries(P3, srgb_formula()))
    expected = 0.4 * shown(pixels, P3, to_linear) + 0.6 * 255
    assert difference(content, expected) <= 1.5


def test_a_palette_has_a_profile_too():
    image = Image.fromarray(colours()).quantize(16)
    expected = shown(np.asarray(image.convert("RGB")), P3, to_linear)
    assert difference(encode(image, icc_profile=of_primaries(P3, srgb_formula())), expected) <= 2


@pytest.mark.parametrize(
    ("image", "icc"),
    [
        (Image.fromarray(colours()), b"this is no profile"),
        (Image.fromarray(colours()), of_primaries(P3, gamma(2.2))[:200]),
        (Image.fromarray(colours()), profile(b"RGB ", {})),
        (Image.fromarray(colours()), profile(b"GRAY", {b"kTRC": gamma(1.0)})),
        (Image.fromarray(colours()), of_ink()),
        (Image.fromarray(colours()[..., 0]), of_primaries(ADOBE, gamma(1.0))),
    ],
    ids=["text", "cut", "no tags", "grey for colours", "ink for light", "colours for grey"],
)
def test_a_broken_or_foreign_profile_is_ignored(image, icc):
    plain = np.asarray(image.convert("RGB"))
    assert difference(encode(image, icc_profile=icc), plain) == 0


def test_big_photos_are_averaged_down_before_their_colours_are_converted(monkeypatch):
    """The same picture, within rounding; an odd width, so that blocks do not end with the image."""
    monkeypatch.setattr(preprocess, "CONVERTED_SIDE", 64)
    y, x = np.mgrid[0:611, 0:797]
    pixels = np.stack([200 - x / 5, 60 + y / 4, 90 + (x + y) / 12], -1).astype(np.uint8)
    content = encode(Image.fromarray(pixels), icc_profile=of_primaries(P3, srgb_formula()))
    as_srgb = Image.fromarray(np.rint(shown(pixels, P3, to_linear)).astype(np.uint8))
    assert difference(content, read_image(as_srgb, SPEC)) <= 2
