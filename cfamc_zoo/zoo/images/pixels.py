"""What an image file stores, as colours and transparency: any mode, depth and photometry.

Integers count from 0 to the largest of their type (4095 in 12 bits), floats from 0 to 1, never by
what the image happens to hold. What has no such range is refused: signed and 32-bit integers,
floats beyond [0, 1], NaN.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from cfamc_zoo.errors import DataError

# TIFF tags and their values.
BITS, PHOTOMETRY, SAMPLE_FORMAT = 258, 262, 339
WHITE_IS_ZERO, SIGNED = 0, 2

# Formats whose `I` is 0..65535 in Pillow, and those whose 16 bits are measurements, not greys.
INTEGERS_OF_16_BITS = ("PPM", "PNG")
MEASUREMENTS = ("FITS", "MCIDAS")

# Pillow's name of how PNG stores pixels -> what its transparent grey is multiplied by.
GREYS_OF_FEW_BITS = {"L;2": 85, "L;4": 17}
RGB_OF_16_BITS = "RGB;16B"


def read_pixels(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Turns an image upright and takes it apart.

    Args:
        image: open, of any mode, best not loaded yet: Pillow then forgets how it was stored.

    Returns:
        Colours of mode L, I;16 (the whole range of 16 bits), RGB or CMYK; and the alpha channel
        of mode L, or None where all is opaque.

    Raises:
        DataError: numbers without a range.
    """
    stored, key = _raw_mode(image), image.info.get("transparency")
    if image.format == "TIFF" and SIGNED in _tag(image, SAMPLE_FORMAT):
        raise DataError(_no_range("signed integers"))
    if stored == RGB_OF_16_BITS and isinstance(key, tuple):
        low = _low_bytes(image)  # before the file is loaded, which closes it
        upright = _upright(image)
        values = np.asarray(upright).astype(np.uint16) << 8 | low
        return upright, _opaque((values != np.array(key, np.uint16)).any(2))
    upright = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(upright)
        greys = Image.fromarray(_greys(values, image))
        return greys, _opaque(values != key) if isinstance(key, int) else None
    if stored in GREYS_OF_FEW_BITS and key is not None:
        upright = upright.copy()  # it may be the caller's own
        upright.info["transparency"] = key * GREYS_OF_FEW_BITS[stored]
    if upright.has_transparency_data:
        # Pillow has no way from La to RGBA but through LA.
        straight = (upright.convert("LA") if upright.mode == "La" else upright).convert("RGBA")
        return straight.convert("RGB"), straight.getchannel("A")
    if upright.mode in ("L", "RGB", "CMYK"):
        return upright, None
    return upright.convert("L" if upright.mode == "1" else "RGB"), None


def _upright(image: Image.Image) -> Image.Image:
    """The image itself where nothing is to be turned: Pillow would copy it."""
    image.load()  # a PNG's EXIF may come after its pixels
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _greys(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """The one channel of an image of more than 8 bits, as uint16 of the whole range."""
    if image.mode == "F":
        greys = _of_floats(values)
    elif image.mode == "I" and image.format not in INTEGERS_OF_16_BITS:
        raise DataError(_no_range("32-bit integers"))
    elif image.format in MEASUREMENTS:
        raise DataError(_no_range(f"the integers of {image.format}"))
    elif _tag(image, BITS) == (12,):
        greys = np.rint(values * (65535 / 4095)).astype(np.uint16)
    else:
        greys = values.astype(np.uint16)
    # Pillow inverts what white-is-zero TIFFs store in up to 8 bits alone.
    inverted = image.format == "TIFF" and WHITE_IS_ZERO in _tag(image, PHOTOMETRY)
    return np.uint16(65535) - greys if inverted else greys


def _of_floats(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise DataError("it holds NaN or infinity; floats must be in [0, 1]")
    low, high = values.min(), values.max()
    # What rounds to 0 or 255 may lie as far outside.
    if low < -0.5 / 255 or high > 255.5 / 255:
        raise DataError(f"floats of {low:g} to {high:g}; they must be in [0, 1]: scale them")
    return np.rint(values.clip(0, 1).astype(np.float64) * 65535).astype(np.uint16)


def _no_range(what: str) -> str:
    return f"{what} have no known black and white; convert it to 8 or 16 bits without sign"


def _low_bytes(image: Image.Image) -> np.ndarray:
    """Of an RGB file of 16 bits a channel, of which Pillow keeps the high bytes alone."""
    file: Any = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    with Image.open(io.BytesIO(file.read())) as again:
        file.seek(position)
        tile = again.tile[0]  # type: ignore[attr-defined]
        again.tile = [tile._replace(args="RGB;16L")]  # type: ignore[attr-defined]
        return np.asarray(ImageOps.exif_transpose(again))


def _opaque(where: np.ndarray) -> Image.Image:
    return Image.fromarray(where.astype(np.uint8) * np.uint8(255))


def _raw_mode(image: Image.Image) -> str | None:
    """How a file that is not loaded yet stores its pixels, in Pillow's words."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    return arguments if isinstance(arguments, str) else None


def _tag(image: Image.Image, number: int) -> tuple[Any, ...]:
    value = getattr(image, "tag_v2", {}).get(number, ())
    return value if isinstance(value, tuple) else (value,)
