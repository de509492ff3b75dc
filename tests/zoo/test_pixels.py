"""Every mode, depth and photometry, written byte by byte, against values computed by hand."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess

SPEC = Preprocess()
SIZE = SPEC.size


def halves(left, right, dtype=np.uint8):
    """(S, S, channels): one pixel in the left half, another in the right."""
    pixels = np.empty((SIZE, SIZE, len(left)), dtype)
    pixels[:, : SIZE // 2], pixels[:, SIZE // 2 :] = left, right
    return pixels


def packed(pixels, bits):
    """(S, S, channels) integers as the bytes of rows of `bits` each, the highest bit first."""
    if bits > 8 and bits % 8 == 0:
        return [row.astype(f">u{bits // 8}").tobytes() for row in pixels]
    rows = pixels.reshape(SIZE, -1)
    ones = (rows[..., None] >> np.arange(bits)[::-1]) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in ones.astype(np.uint8)]


def png(depth, kind, left, right, **chunks):
    """A PNG of that bit depth and colour type; chunks by name, like tRNS=b""."""

    def chunk(name, body):
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    rows = packed(halves(left, right, np.uint32), depth)
    header = struct.pack(">IIBBBBB", SIZE, SIZE, depth, kind, 0, 0, 0)
    order = [(b"IHDR", header), *((name.encode(), body) for name, body in chunks.items())]
    order += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(itertools.starmap(chunk, order))


def tiff(photometry, bits, left, right, *, extra=None, kind=None, order="<", more=()):
    """An uncompressed TIFF.

    Args:
        bits: of each channel.
        extra: what the last channel is: 0 unspecified, 1 premultiplied, 2 straight alpha.
        kind: SampleFormat: 1 unsigned, 2 signed, 3 floating point.
        order: "<" or ">".
        more: further tags: (number, type, values).
    """
    pixels = halves(left, right, np.float32 if kind == 3 else np.int64)
    if bits % 8:
        data = b"".join(packed(pixels, bits))
    else:
        data = pixels.astype(f"{order}{'f' if kind == 3 else 'i'}{bits // 8}").tobytes()
    channels = len(left)
    tags = [(256, 3, [SIZE]), (257, 3, [SIZE]), (258, 3, [bits] * channels), (259, 3, [1])]
    tags += [(262, 3, [photometry]), (277, 3, [channels]), (278, 3, [SIZE]), (279, 4, [len(data)])]
    tags += [(338, 3, [extra])] if extra is not None else []
    tags += [(339, 3, [kind] * channels)] if kind is not None else []
    tags += [*more, (273, 4, [0])]
    end = 8 + 2 + 12 * len(tags) + 4
    table, values = b"", b""
    where = end + sum(-(-len(v) * {3: 2, 4: 4}[t] // 4) * 4 for _, t, v in tags if len(v) > 1)
    for number, what, content in sorted(tags):
        content = [where] if number == 273 else content
        body = struct.pack(f"{order}{len(content)}{'H' if what == 3 else 'I'}", *content)
        at = struct.pack(f"{order}I", end + len(values))
        table += struct.pack(f"{order}HHI", number, what, len(content))
        if len(body) > 4:
            table += at
            values += body + b"\0" * (-len(body) % 4)
        else:
            table += body.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    start = head + struct.pack(f"{order}H", len(tags)) + table + b"\0" * 4 + values
    return start.ljust(where, b"\0") + data


def on_white(colour, alpha):
    return tuple(c * alpha + 255 * (1 - alpha) for c in colour)


def key(*values):
    return struct.pack(f">{len(values)}H", *values)


def grey(value):
    return (value,) * 3


PALETTE = bytes((10, 200, 30, 250, 60, 90))
CLEAR = (255, 255, 255)
A, B = (200, 100, 50), (20, 240, 130)
A16, B16 = (0xC812, 0x6434, 0x3256), (0x1478, 0xF09A, 0x82BC)

PNGS = {
    "grey 1": (png(1, 0, [0], [1]), grey(0), grey(255)),
    "grey 2": (png(2, 0, [1], [2]), grey(85), grey(170)),
    "grey 4": (png(4, 0, [3], [12]), grey(51), grey(204)),
    "grey 8": (png(8, 0, [77], [200]), grey(77), grey(200)),
    "grey 16": (png(16, 0, [0x8080], [0x12F0]), grey(128), grey(0x12F0 / 257)),
    "grey 1, black is clear": (png(1, 0, [0], [1], tRNS=key(0)), CLEAR, grey(255)),
    "grey 1, white is clear": (png(1, 0, [0], [1], tRNS=key(1)), grey(0), CLEAR),
    "grey 2, a grey is clear": (png(2, 0, [1], [2], tRNS=key(1)), CLEAR, grey(170)),
    "grey 4, a grey is clear": (png(4, 0, [3], [12], tRNS=key(12)), grey(51), CLEAR),
    "grey 8, a grey is clear": (png(8, 0, [77], [200], tRNS=key(77)), CLEAR, grey(200)),
    "grey 16, a grey is clear": (png(16, 0, [0x4D12], [90], tRNS=key(0x4D12)), CLEAR, grey(0)),
    "grey 16, a near grey is clear": (png(16, 0, [0x4D12], [0], tRNS=key(0x4D13)), grey(77), 0),
    "rgb 8": (png(8, 2, A, B), A, B),
    "rgb 8, a colour is clear": (png(8, 2, A, B, tRNS=key(*A)), CLEAR, B),
    "rgb 16": (png(16, 2, A16, B16), A, B),
    "rgb 16, a colour is clear": (png(16, 2, A16, B16, tRNS=key(*B16)), A, CLEAR),
    "rgb 16, a near colour is clear": (
        png(16, 2, A16, B16, tRNS=key(0xC812, 0x6434, 0x3257)),
        *(A, B),
    ),
    "palette 1": (png(1, 3, [0], [1], PLTE=PALETTE), (10, 200, 30), (250, 60, 90)),
    "palette 8": (png(8, 3, [1], [0], PLTE=PALETTE), (250, 60, 90), (10, 200, 30)),
    "palette, an entry is clear": (
        png(4, 3, [0], [1], PLTE=PALETTE, tRNS=b"\0"),
        *(CLEAR, (250, 60, 90)),
    ),
    "palette, an entry is half clear": (
        png(2, 3, [0], [1], PLTE=PALETTE, tRNS=b"\xff\x80"),
        *((10, 200, 30), on_white((250, 60, 90), 128 / 255)),
    ),
    "grey and alpha 8": (png(8, 4, [60, 51], [60, 255]), on_white(grey(60), 0.2), grey(60)),
    "grey and alpha 16": (
        png(16, 4, [60 * 257, 51 * 257], [60 * 257, 0]),
        *(on_white(grey(60), 0.2), CLEAR),
    ),
    "rgb and alpha 8": (png(8, 6, [*A, 204], [*B, 0]), on_white(A, 0.8), CLEAR),
    "rgb and alpha 16": (
        png(16, 6, [*A16, 204 * 257], [*B16, 65535]),
        *(on_white(A, 0.8), B),
    ),
}
MAP = (320, 3, [v * 257 for c in range(3) for v in [PALETTE[c], PALETTE[3 + c]] + [0] * 254])
TIFFS = {
    "black is zero 1": (tiff(1, 1, [0], [1]), grey(0), grey(255)),
    "black is zero 4": (tiff(1, 4, [3], [12]), grey(51), grey(204)),
    "black is zero 8": (tiff(1, 8, [77], [200]), grey(77), grey(200)),
    "black is zero 12": (tiff(1, 12, [0x4D4], [0xFFF]), grey(0x4D4 * 255 / 4095), grey(255)),
    "black is zero 16": (tiff(1, 16, [0x4D4D], [0xFFFF]), grey(77), grey(255)),
    "black is zero 16, big": (tiff(1, 16, [0x4D4D], [60], order=">"), grey(77), grey(0)),
    "white is zero 1": (tiff(0, 1, [0], [1]), grey(255), grey(0)),
    "white is zero 2": (tiff(0, 2, [1], [3]), grey(170), grey(0)),
    "white is zero 4": (tiff(0, 4, [3], [12]), grey(204), grey(51)),
    "white is zero 8": (tiff(0, 8, [77], [200]), grey(178), grey(55)),
    "white is zero 16": (tiff(0, 16, [0x4D4D], [0]), grey(178), grey(255)),
    "float": (tiff(1, 32, [0.25], [1.0], kind=3), grey(0.25 * 255), grey(255)),
    "float, big": (tiff(1, 32, [0.25], [0.0], kind=3, order=">"), grey(0.25 * 255), grey(0)),
    "white is zero, float": (tiff(0, 32, [0.25], [0], kind=3), grey(0.75 * 255), grey(255)),
    "grey, premultiplied": (tiff(1, 8, [60, 128], [60, 255], extra=1), grey(60 + 127), grey(60)),
    "grey, straight": (
        tiff(1, 8, [60, 51], [9, 0], extra=2),
        *(on_white(grey(60), 0.2), CLEAR),
    ),
    "rgb 8": (tiff(2, 8, A, B), A, B),
    "rgb 16": (tiff(2, 16, A16, B16), A, B),
    "rgb 16, big": (tiff(2, 16, A16, B16, order=">"), A, B),
    "rgb, a channel of no meaning": (tiff(2, 8, [*A, 0], [*B, 9], extra=0), A, B),
    "rgb, premultiplied": (
        tiff(2, 8, [100, 50, 25, 128], [0, 0, 0, 0], extra=1),
        *((227, 177, 152), CLEAR),
    ),
    "rgb, straight": (tiff(2, 8, [*A, 204], [*B, 0], extra=2), on_white(A, 0.8), CLEAR),
    "rgb 16, premultiplied": (
        tiff(2, 16, [100 * 257, 50 * 257, 25 * 257, 128 * 257], [*B16, 65535], extra=1),
        *((227, 177, 152), B),
    ),
    "rgb 16, straight": (
        tiff(2, 16, [*A16, 204 * 257], [*B16, 0], extra=2, order=">"),
        *(on_white(A, 0.8), CLEAR),
    ),
    "palette 8": (tiff(3, 8, [0], [1], more=[MAP]), (10, 200, 30), (250, 60, 90)),
    "cmyk 8": (tiff(5, 8, [0, 255, 255, 0], [0, 0, 0, 204]), (255, 0, 0), grey(51)),
    "cmyk 16": (
        tiff(5, 16, [0, 65535, 65535, 0], [0, 0, 0, 204 * 257]),
        *((255, 0, 0), grey(51)),
    ),
    "lab, greys": (tiff(8, 8, [136, 0, 0], [255, 0, 0]), grey(127), grey(255)),
}


@pytest.mark.parametrize(
    ("content", "left", "right"),
    [
        pytest.param(*case, id=f"{kind}: {name}")
        for kind, cases in (("png", PNGS), ("tiff", TIFFS))
        for name, case in cases.items()
    ],
)
def test_a_file_has_the_pixels_that_were_written_into_it(content, left, right):
    got = read_image(content, SPEC).astype(float)
    assert np.abs(got[:, : SIZE // 2] - left).max() <= 1
    assert np.abs(got[:, SIZE // 2 :] - right).max() <= 1


def rgb(pixel):
    return Image.new("RGB", (SIZE, SIZE), pixel)


def premultiplied(mode, pixel):
    return Image.frombytes(mode, (SIZE, SIZE), bytes(pixel) * SIZE**2)


def with_palette_of_alpha():
    image = Image.new("P", (SIZE, SIZE), 1)
    image.putpalette([0, 0, 0, 255, *A, 51], "RGBA")
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("1", (SIZE, SIZE), 1), grey(255)),
        (Image.new("L", (SIZE, SIZE), 77), grey(77)),
        (Image.new("LA", (SIZE, SIZE), (60, 51)), on_white(grey(60), 0.2)),
        (premultiplied("La", (60, 128)), grey(60 + 127)),
        (rgb(A).quantize(2), A),
        (with_palette_of_alpha(), on_white(A, 0.2)),
        (rgb(A).quantize(2).convert("PA"), A),
        (rgb(A), A),
        (Image.new("RGBA", (SIZE, SIZE), (*A, 204)), on_white(A, 0.8)),
        (premultiplied("RGBa", (100, 50, 25, 128)), (227, 177, 152)),
        (Image.new("RGBX", (SIZE, SIZE), (*A, 7)), A),
        (Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0)), (255, 0, 0)),
        (rgb(A).convert("YCbCr"), A),
        (rgb(A).convert("LAB"), A),
        (rgb(A).convert("HSV"), A),
        (Image.fromarray(np.full((SIZE, SIZE), 0x4D4D, np.uint16)), grey(77)),
        (Image.fromarray(np.full((SIZE, SIZE), 0x4D4D, ">u2")), grey(77)),
        (Image.fromarray(np.full((SIZE, SIZE), 0.25, np.float32)), grey(0.25 * 255)),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_an_image_that_pillow_made_has_its_colours(image, expected):
    # HSV and 8-bit LAB are coarser than RGB.
    near = 3 if image.mode in ("HSV", "LAB") else 1
    assert np.abs(read_image(image, SPEC).astype(float) - expected).max() <= near


def test_the_inverted_cmyk_of_adobes_jpegs():
    file = io.BytesIO()
    Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0)).save(file, "JPEG", quality=95)
    assert b"Adobe" in file.getvalue()
    assert np.abs(read_image(file.getvalue(), SPEC).astype(int) - (255, 0, 0)).max() <= 3


def test_lab_knows_red_from_green():
    got = read_image(tiff(8, 8, [138, 81, 70], [224, -79, 81]), SPEC).astype(int)  # in D50
    assert np.abs(got[:, :16] - (255, 0, 0)).max() <= 15  # 8-bit LAB is coarse, in the dark most
    assert np.abs(got[:, 16:] - (0, 255, 0)).max() <= 15


@pytest.mark.parametrize("largest", [255, 1023, 65535])
def test_pgm_counts_to_its_own_largest_value(largest):
    dtype = np.uint8 if largest < 256 else ">u2"
    body = np.full((SIZE, SIZE), largest // 2, dtype).tobytes()
    got = read_image(f"P5 {SIZE} {SIZE} {largest}\n".encode() + body, SPEC)
    assert np.abs(got.astype(int) - 127).max() <= 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiff(1, 32, [0], [2**31 - 1], kind=2), "signed integers"),
        (tiff(1, 32, [0], [2**30], kind=2, order=">"), "signed integers"),
        (tiff(1, 32, [0], [70000], kind=1), "32-bit integers"),
        (tiff(1, 16, [0], [900], kind=2), "signed integers"),
        (tiff(1, 8, [0], [100], kind=2), "signed integers"),
        (tiff(1, 32, [0.0], [255.0], kind=3), r"floats of 0 to 255; they must be in \[0, 1\]"),
        (tiff(1, 32, [-1.0], [1.0], kind=3), "floats of -1 to 1"),
        (tiff(1, 32, [float("nan")], [1.0], kind=3), "NaN"),
        (Image.new("I", (SIZE, SIZE), 200), "32-bit integers"),
        (Image.new("F", (SIZE, SIZE), 200), "floats of 200 to 200"),
    ],
)
def test_numbers_without_black_and_white_are_refused(content, said):
    with pytest.raises(DataError, match=said) as refusal:
        read_image(content, SPEC)
    assert "\n" not in str(refusal.value)


def test_what_rounds_to_black_or_white_is_in_range():
    got = read_image(tiff(1, 32, [-0.001], [1.001], kind=3), SPEC)
    assert got[0, 0, 0] == 0 and got[0, -1, 0] == 255


@pytest.mark.parametrize("name", ["grey 16, a grey is clear", "rgb 16, a colour is clear"])
def test_an_opened_image_is_read_as_its_file_is(name, tmp_path):
    content = PNGS[name][0]
    (tmp_path / "a.png").write_bytes(content)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(read_image(image, SPEC), read_image(content, SPEC))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_turn_colours_and_transparency_alike(orientation):
    pixels = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE), dtype=np.uint16)
    clear = int(pixels[3, 5])
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", transparency=clear, exif=exif)
    turned = [
        *(pixels, pixels[:, ::-1], pixels[::-1, ::-1], pixels[::-1], pixels.T),
        *(np.rot90(pixels, -1), pixels[::-1, ::-1].T, np.rot90(pixels)),
    ][orientation - 1]
    expected = np.where(turned == clear, 255, np.rint(turned / 257))
    assert np.array_equal(read_image(file.getvalue(), SPEC)[..., 0], expected)


def test_a_colour_of_16_bits_is_clear_where_it_is_turned_to():
    exif = Image.Exif()
    exif[0x0112] = 2  # mirrored
    written = exif.tobytes().removeprefix(b"Exif\0\0")
    got = read_image(png(16, 2, A16, B16, tRNS=key(*A16), eXIf=written), SPEC).astype(int)
    assert np.abs(got[:, : SIZE // 2] - B).max() <= 1
    assert (got[:, SIZE // 2 :] == 255).all()


def test_an_opened_image_is_not_changed_by_being_read():
    image = Image.open(io.BytesIO(png(2, 0, [1], [2], tRNS=key(2))))
    before = dict(image.info)
    read_image(image, SPEC)
    assert image.info == before and image.info["transparency"] == 2
    assert image.mode == "L" and image.size == (SIZE, SIZE)
