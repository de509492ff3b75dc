"""Any image to the model's input: the one definition, shared by every command and back end.

EXIF orientation is applied; the first frame of an animation is taken; 16-bit and float images
are scaled by their own type's range, not by their content; transparency is laid over white; then
RGB, the shorter side resized to the model's input by Pillow's bicubic filter (which widens when
it shrinks, so it does not alias), and the centre cropped. An image of the right size is left as
it is, pixel by pixel.
"""

from __future__ import annotations

import io
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.spec import Preprocess

PIXEL_LIMIT = 178_956_970  # of the image as stored: Pillow's own bound, 512 MiB of RGB
WHITE = (255, 255, 255)
# What Pillow's decoders raise on damaged files, besides OSError: found by damaging files of
# every format (RuntimeError: AVIF; NotImplementedError: DDS; struct.error: EXIF in WebP).
DAMAGE = (
    *(ValueError, SyntaxError, IndexError, KeyError, TypeError, MemoryError, RuntimeError),
    *(ArithmeticError, EOFError, AttributeError, AssertionError, struct.error),
)


def read_image(source: Path | bytes, preprocess: Preprocess) -> np.ndarray:
    """Reads one image file, or its content.

    Returns:
        (S, S, 3) uint8 RGB, S = `preprocess.size`.

    Raises:
        DataError: it cannot be read; the message is the reason alone.
    """
    try:
        content = source if isinstance(source, bytes) else _content(source)
        if not content:
            raise DataError("the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata: the pixels decide
            with Image.open(io.BytesIO(content)) as image:
                if image.width * image.height > PIXEL_LIMIT:
                    raise DataError(f"{image.width} x {image.height} pixels are over {PIXEL_LIMIT}")
                return fit(image, preprocess)
    except Image.DecompressionBombError as error:
        raise DataError(f"more pixels than {PIXEL_LIMIT}") from error
    except UnidentifiedImageError as error:
        raise DataError("not an image, or of a format that Pillow does not know") from error
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
    except DAMAGE as error:
        raise DataError(f"damaged: {str(error) or type(error).__name__}") from error


def _content(path: Path) -> bytes:
    # A pipe would block for ever, a device would never end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError("a directory" if path.is_dir() else "not a regular file")
    return path.read_bytes()


def fit(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """An open image as (S, S, 3) uint8."""
    size = preprocess.size
    image = to_rgb(ImageOps.exif_transpose(image))
    if image.size != (size, size):
        shorter = min(image.size)
        width, height = (max(size, round(side * size / shorter)) for side in image.size)
        # Crop first in the source: the same pixels, and a 1 x 10000 strip stays small.
        left, top = (width - size) / 2 * shorter / size, (height - size) / 2 * shorter / size
        box = (left, top, left + shorter, top + shorter)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB, 8 bits a channel, from any of Pillow's modes."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        # 16-bit files open as I or I;16 by format. Floats count as [0, 1].
        values = values * 255 if image.mode == "F" else values * (255 / 65535)
        grey = np.nan_to_num(values).round().clip(0, 255).astype(np.uint8)
        image = Image.fromarray(grey)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*WHITE, 255)), image)
    return image.convert("RGB")


def to_input(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 to (N, 3, S, S) float32 in [0, 1]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
