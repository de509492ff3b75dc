"""Edits that people and programs make of images every day. A new one is a line of the table."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from cfamc_zoo.errors import UnknownNameError, UsageError

Apply = Callable[[Image.Image, float, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class Edit:
    """One kind of edit.

    Attributes:
        apply: an RGB image, a strength and draws to an RGB image of the same size.
        strengths: from the weakest to the strongest.
        said: of a strength, as "quality {:g}".
    """

    apply: Apply
    strengths: tuple[float, ...]
    said: str

    def describe(self, strength: float) -> str:
        """A strength in words."""
        return self.said.format(strength)


def _jpeg(image: Image.Image, quality: float, draws: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(quality))  # colours at half the size, as is usual
    with Image.open(file) as again:
        return again.convert("RGB")


def _resize(image: Image.Image, part: float, draws: np.random.Generator) -> Image.Image:
    """Down to a part of each side, and up again."""
    smaller = [max(1, round(part * side)) for side in image.size]
    down = image.resize((smaller[0], smaller[1]), Image.Resampling.BICUBIC)
    return down.resize(image.size, Image.Resampling.BICUBIC)


def _crop(image: Image.Image, percent: float, draws: np.random.Generator) -> Image.Image:
    """So much less of each side, from a random place, enlarged to the size it had."""
    width, height = image.size
    kept = 1 - percent / 100
    left, top = draws.uniform(0, 1, 2) * ((1 - kept) * width, (1 - kept) * height)
    box = (left, top, left + kept * width, top + kept * height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _brightness(image: Image.Image, factor: float, draws: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _contrast(image: Image.Image, factor: float, draws: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(factor)


def _blur(image: Image.Image, radius: float, draws: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _noise(image: Image.Image, deviation: float, draws: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    noisy = pixels + deviation * draws.standard_normal(pixels.shape, np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


EDITS = {
    "jpeg": Edit(_jpeg, (95, 85, 75, 50, 30), "quality {:g}"),
    "resize": Edit(_resize, (0.9, 0.75, 0.5, 0.25), "to {:.0%} of each side and back"),
    "crop": Edit(_crop, (1, 2, 5, 10), "{:g}% of width and height cut away"),
    "brightness": Edit(_brightness, (1.1, 0.9, 1.3, 0.7, 1.5, 0.5), "times {:g}"),
    "contrast": Edit(_contrast, (1.1, 0.9, 1.3, 0.7, 1.5, 0.5), "times {:g}"),
    "blur": Edit(_blur, (0.5, 1, 2), "Gaussian, {:g} pixels"),
    "noise": Edit(_noise, (2, 4, 8, 16), "Gaussian, {:g}/255"),
}


def edits_called(kinds: str | Iterable[str] | None) -> list[str]:
    """Names out of the table, each once; None is all of them.

    Args:
        kinds: a list, or text with commas.

    Raises:
        UsageError: none.
        UnknownNameError: no such edit.
    """
    if kinds is None:
        return list(EDITS)
    names = kinds.split(",") if isinstance(kinds, str) else list(kinds)
    names = list(dict.fromkeys(str(name).strip() for name in names))
    if not any(names):
        raise UsageError(f"there is no edit to measure; give some of {', '.join(EDITS)}")
    for name in names:
        if name not in EDITS:
            raise UnknownNameError("edit", name, EDITS)
    return names


def edited(
    images: np.ndarray, kind: str, strength: float, rows: Iterable[int], seed: int
) -> np.ndarray:
    """(k, S, S, 3) uint8 images after an edit.

    Args:
        images: (k, S, S, 3) uint8.
        kind: in the table.
        rows: k numbers of the images; with the seed, all that an image's draws depend on, so that
            they are those of no batch.
    """
    edit = EDITS[kind]
    found = np.empty_like(images)
    for place, row in enumerate(rows):
        draws = np.random.default_rng([seed, row, list(EDITS).index(kind)])
        found[place] = np.asarray(edit.apply(Image.fromarray(images[place]), strength, draws))
    return found
