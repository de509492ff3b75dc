"""Small pictures for a page, in the page itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess

SIDE = 160  # pixels at most
PLAIN = 64  # pixels, up to which PNG is small enough


def thumbnail_of(path: Path) -> str:
    """The centre square of an image file, which is what a model sees, as a data URI.

    Raises:
        DataError: it cannot be read; the message is the reason alone.
    """
    return as_uri(Image.fromarray(read_image(path, Preprocess(size=_side(path)))))


def picture_of(pixels: np.ndarray) -> str:
    """(3, H, W) in [0, 1] as a data URI."""
    eight = (pixels.transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8)
    return as_uri(Image.fromarray(eight))


def as_uri(image: Image.Image) -> str:
    """RGB as PNG where it is small, else as JPEG."""
    kind = "png" if max(image.size) <= PLAIN else "jpeg"
    content = io.BytesIO()
    image.save(content, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def _side(path: Path) -> int:
    """Never larger than the image: what is small is enlarged by whoever looks at it."""
    try:
        with Image.open(path) as image:
            return max(1, min(SIDE, *image.size))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return SIDE  # `read_image` says what is wrong
