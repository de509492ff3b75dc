"""Any image to the model's input: the one definition, shared by every command and back end.

EXIF orientation is applied; the first frame of an animation is taken; 16-bit and float images
are scaled by their own type's range, not by their content (`pixels.py`); colours become sRGB
through the embedded profile (`colour.py`); transparency is laid over white; then the shorter
side is resized to the model's input, or to what its crop leaves of it, by Pillow's bicubic or
bilinear filter (which widens when it shrinks, so it does not alias), and the centre cropped. A
JPEG that is much larger than the input is decoded at a fraction of its size (`reduction.py`). An
sRGB image of the right size, where no crop is taken, is left as it is, pixel by pixel.
"""

from __future__ import annotations

import io
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images.colour import to_srgb
from cfamc_zoo.zoo.images.pixels import read_pixels
from cfamc_zoo.zoo.images.reduction import Reduction, opened_again, reduce_decoding
from cfamc_zoo.zoo.images.room import ROOM
from cfamc_zoo.zoo.network.spec import Preprocess

RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
PIXEL_LIMIT = 178_956_970  # of the image as stored: Pillow's own bound, 512 MiB of RGB
LARGE = 1 << 28  # bytes of a file that is not read whole: many pages, or more than may be decoded
WHITE = (255, 255, 255, 255)
# Raised whenever the same file gives other pixels: vectors of two versions do not go together.
PREPROCESSING = 3
# Photos with a profile are averaged down to about so many pixels a side before their colours are
# converted, which would take longer than all else. Four times the model's input is the least.
CONVERTED_SIDE = 1024
# What Pillow's decoders raise on damaged files, besides OSError: found by damaging files of
# every format (RuntimeError: AVIF; NotImplementedError: DDS; struct.error: EXIF in WebP).
DAMAGE = (
    *(ValueError, SyntaxError, IndexError, KeyError, TypeError, MemoryError, RuntimeError),
    *(ArithmeticError, EOFError, AttributeError, AssertionError, struct.error),
)


def read_image(source: Path | bytes | Image.Image, preprocess: Preprocess) -> np.ndarray:
    """Reads one image file, its content, or an image that Pillow has opened.

    Returns:
        (S, S, 3) uint8 RGB, S = `preprocess.size`.

    Raises:
        DataError: it cannot be read; the message is the reason alone.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata: the pixels decide
            if isinstance(source, Image.Image):
                return _fit_within_limit(opened_again(source), preprocess)
            content = source if isinstance(source, bytes) else _content(source)
            if not content:
                raise DataError("the file is empty")
            opened = io.BytesIO(content) if isinstance(content, bytes) else content
            with Image.open(opened) as image:
                return _fit_within_limit(image, preprocess)
    except Image.DecompressionBombError as error:
        raise DataError(f"more pixels than {PIXEL_LIMIT}") from error
    except UnidentifiedImageError as error:
        raise DataError("not an image, or of a format that Pillow does not know") from error
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
    except DAMAGE as error:
        raise DataError(f"damaged: {str(error) or type(error).__name__}") from error


def _content(path: Path) -> bytes | Path:
    """A file's bytes; of a large one the path again, from which Pillow reads what it needs."""
    # A pipe would block for ever, a device would never end.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError("a directory" if path.is_dir() else "not a regular file")
    return path if status.st_size > LARGE else path.read_bytes()


def _fit_within_limit(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    if image.width * image.height > PIXEL_LIMIT:
        raise DataError(f"{image.width} x {image.height} pixels are over {PIXEL_LIMIT}")
    return fit(image, preprocess)


def fit(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """An open image as (S, S, 3) uint8. A JPEG that is not loaded may be left smaller."""
    reduction = reduce_decoding(image, preprocess.shorter_side)
    with ROOM.taken(image.width * image.height):
        return _fit_decoded(image, reduction, preprocess)


def _fit_decoded(image: Image.Image, reduction: Reduction, preprocess: Preprocess) -> np.ndarray:
    size = preprocess.size
    profile = None if image.mode == "LAB" else image.info.get("icc_profile")
    colours, alpha = read_pixels(image)
    convert = to_srgb(profile, colours.mode) if isinstance(profile, bytes) else None
    width, height = reduction.full_size(*colours.size)
    factor = 1
    if convert is not None and alpha is None and colours.mode in ("RGB", "CMYK"):
        factor = max(1, min(colours.size) // max(CONVERTED_SIDE, 4 * size))
        colours = colours.reduce(factor) if factor > 1 else colours
    image = over_white(_eight_bits(colours) if convert is None else convert(colours), alpha)
    if not is_ready(width, height, preprocess):
        edges = reduction.box(*crop(width, height, size, preprocess.shorter_side))
        left, top, right, bottom = (edge / factor for edge in edges)
        box = (left, top, right, bottom)
        image = image.resize((size, size), RESAMPLING[preprocess.interpolation], box=box)
    return np.asarray(image)


def fit_floats(pixels: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """An sRGB image as (S, S, 3) float32, as `fit` does it but without rounding to 8 bits.

    Args:
        pixels: (H, W, 3) or (H, W) float32 in [0, 1].
    """
    size = preprocess.size
    height, width = pixels.shape[:2]
    planes = np.broadcast_to(pixels if pixels.ndim == 3 else pixels[..., None], (height, width, 3))
    if is_ready(width, height, preprocess):
        return planes
    left, top, right, bottom = crop(width, height, size, preprocess.shorter_side)
    resampling = RESAMPLING[preprocess.interpolation]
    # One axis after the other, and clipped between them as 8 bits are.
    across, down = (left, 0, right, height), (0, top, size, bottom)
    resized = []
    for channel in range(3):
        plane = np.ascontiguousarray(planes[..., channel])
        for shape, box in (((size, height), across), ((size, size), down)):
            image = Image.fromarray(plane).resize(shape, resampling, box=box)
            plane = np.asarray(image).clip(0, 1)
        resized.append(plane)
    return np.stack(resized, 2)


def fit_all(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """(N, H, W, 3) uint8 as (N, S, S, 3), each image as `fit` has it."""
    height, width = images.shape[1:3]
    if is_ready(width, height, preprocess):
        return images
    return np.stack([fit(Image.fromarray(image), preprocess) for image in images])


def is_ready(width: int, height: int, preprocess: Preprocess) -> bool:
    """Whether an image of that size becomes the input as it is, pixel by pixel."""
    size = preprocess.size
    return (width, height, preprocess.shorter_side) == (size, size, size)


def crop(
    width: int, height: int, size: int, shorter_side: int
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what becomes the input, in the image's own pixels.

    Cropped there and then resized: the same pixels, and a 1 x 10000 strip stays small.

    Args:
        size: of the input.
        shorter_side: that the whole image would be resized to.
    """
    side = min(width, height)
    if shorter_side > size:  # whole pixels of the resized image, as torchvision has them
        wholes = [length * shorter_side // side for length in (width, height)]
        margins = [round((whole - size) / 2) for whole in wholes]
        scales = [width / wholes[0], height / wholes[1]]
        left, top = (m * scale for m, scale in zip(margins, scales, strict=True))
        return left, top, left + size * scales[0], top + size * scales[1]
    whole = (max(size, round(length * size / side)) for length in (width, height))
    left, top = ((length - size) / 2 * side / size for length in whole)
    return left, top, left + side, top + side


def _eight_bits(colours: Image.Image) -> Image.Image:
    if colours.mode != "I;16":
        return colours if colours.mode == "RGB" else colours.convert("RGB")
    # 65535 is 257 times 255, and 128 makes it round.
    greys = (np.asarray(colours).astype(np.uint32) + 128) // 257
    return Image.fromarray(greys.astype(np.uint8)).convert("RGB")


def over_white(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """RGB as it looks on a white page."""
    if alpha is None:
        return colours
    colours = colours.copy()
    colours.putalpha(alpha)
    page = Image.new("RGBA", colours.size, WHITE)
    return Image.alpha_composite(page, colours).convert("RGB")


def to_input(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8, or float32 in [0, 1], to (N, 3, S, S) float32 in [0, 1]."""
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images
