"""JPEG decoded at a half, a quarter or an eighth of its size, which saves most of the work.

The rule: the largest reduction of these that leaves each side at least `LEAST` times the model's
input. JPEG's decoder then computes fewer frequencies of each block of 8 x 8 pixels, so that
nothing aliases, and the resizing that follows has less to do. A photo of 500 x 375 as an input of
32 x 32 takes 2.4 times less time, and moves by 0.4 of 255 on average and by 10 at most; one of
4000 x 3000 by 0.1 and 2 (`benchmarks/decoding.py`, docs/decoding.md).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, TypeGuard

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

LEAST = 2
# EXIF orientations: those that exchange the sides, and those by which the right or lower end of
# what is stored comes to lie at the left or at the top.
TURNED = (5, 6, 7, 8)
END_AT_THE_LEFT, END_AT_THE_TOP = (2, 3, 6, 7), (3, 4, 7, 8)


@dataclass(frozen=True)
class Reduction:
    """What was decoded of an image, which its pixels of full size are to be found in.

    Attributes:
        scale: pixels of full size to one that is decoded, a side.
        margins: left, top, right and bottom, in decoded pixels, less than one, all upright:
            decoding ends with a whole pixel, beyond the image's own end.
    """

    scale: int = 1
    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def full_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height at full size of an upright image that is decoded to these."""
        left, top, right, bottom = self.margins
        across, down = width - left - right, height - top - bottom
        return round(across * self.scale), round(down * self.scale)

    def box(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[float, float, float, float]:
        """The same edges in decoded pixels, of those in pixels of full size."""
        x, y = self.margins[:2]
        ends = ((x, left), (y, top), (x, right), (y, bottom))
        a, b, c, d = (margin + end / self.scale for margin, end in ends)
        return a, b, c, d


WHOLE = Reduction()


def reduce_decoding(image: Image.Image, size: int) -> Reduction:
    """Has a JPEG that is not loaded yet decode at the size that the rule allows.

    Args:
        image: any; one that is loaded, or no JPEG, stays as it is.
        size: to which the shorter side will be resized.
    """
    if not awaits(image):
        return WHOLE
    width, height = image.size
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    drafted = image.draft(None, (LEAST * size, LEAST * size))
    if drafted is None:
        return WHOLE
    scale = round(width / drafted[1][2])
    right, bottom = image.width - width / scale, image.height - height / scale
    if orientation in TURNED:
        right, bottom = bottom, right
    left, right = (right, 0.0) if orientation in END_AT_THE_LEFT else (0.0, right)
    top, bottom = (bottom, 0.0) if orientation in END_AT_THE_TOP else (0.0, bottom)
    return Reduction(scale, (left, top, right, bottom))


def awaits(image: Image.Image) -> TypeGuard[JpegImageFile]:
    """Whether an image is a JPEG whose pixels nobody has asked for yet."""
    # Of an image without tiles the pixels are there; one with a configuration was reduced already.
    return isinstance(image, JpegImageFile) and bool(image.tile) and not image.decoderconfig


def opened_again(image: Image.Image) -> Image.Image:
    """A JPEG that waits, opened a second time: reducing it must not shrink the caller's image."""
    file: Any = getattr(image, "fp", None)
    if not awaits(image) or file is None:
        return image
    position = file.tell()
    file.seek(0)
    again = Image.open(io.BytesIO(file.read()))
    file.seek(position)
    again.info = dict(image.info)  # the caller may have taken the profile away
    return again
