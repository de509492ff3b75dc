"""Colours as a file's embedded profile means them, in sRGB.

Perceptual intent, as browsers show them. A profile that is broken, or of another kind of colours
than the image (an RGB profile in a grey file), is ignored, as browsers do; without a profile, RGB
and grey are sRGB already and CMYK is mixed as plain ink. Where a profile is sRGB under any name,
no pixel changes: what it says decides, not what it is called.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

Convert = Callable[[Image.Image], Image.Image]

# What Pillow calls its modes -> what profiles call their colours.
SPACES = {"L": "GRAY", "I;16": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
DEVICES = ("scnr", "mntr", "prtr", "spac")  # profiles of images; others link or name colours
ALIKE = 2  # of 255: how far from sRGB a profile may be to be taken for it


@lru_cache(maxsize=16)
def to_srgb(profile: bytes, mode: str) -> Convert | None:
    """What turns colours of the profile into sRGB.

    Args:
        profile: the ICC profile's content.
        mode: of the images; see `SPACES`.

    Returns:
        A function from images of `mode` to RGB, safe to share between threads; None where
        nothing is to be done.
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space, kind = opened.profile.xcolor_space.strip(), opened.profile.device_class
        if space != SPACES.get(mode) or kind not in DEVICES:
            return None
        convert = _table(opened, mode) if space == "GRAY" else _transform(opened, mode).apply
        return None if mode in PROBES and _changes_nothing(convert, PROBES[mode]) else convert
    except (ImageCms.PyCMSError, OSError):
        return None


def _transform(
    profile: ImageCms.ImageCmsProfile, mode: str, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(profile, srgb, mode, "RGB", flags=flags)


def _table(profile: ImageCms.ImageCmsProfile, mode: str) -> Convert:
    """Grey by looking it up: what lcms makes of greys to be quick is 9 of 255 off in the dark."""
    ramp = np.arange(256, dtype=np.uint8) if mode == "L" else np.arange(65536, dtype=np.uint16)
    exact = _transform(profile, mode, ImageCms.Flags.NOOPTIMIZE)
    table = np.asarray(exact.apply(Image.fromarray(ramp[None])))[0]
    return lambda image: Image.fromarray(table[np.asarray(image)])


def _probes() -> dict[str, Image.Image]:
    """Every grey and, for RGB, colours on a grid: what tells sRGB from all else."""
    greys = np.arange(256, dtype=np.uint8)
    steps = greys[::15]
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    every = np.concatenate([colours, greys[:, None].repeat(3, 1)])
    deep = greys.astype(np.uint16) * 257
    return {m: Image.fromarray(v[None]) for m, v in (("L", greys), ("I;16", deep), ("RGB", every))}


def _changes_nothing(convert: Convert, probes: Image.Image) -> bool:
    shown = np.asarray(convert(probes)).astype(int)
    stored = np.asarray(probes) // (257 if probes.mode == "I;16" else 1)
    stored = stored if stored.ndim == 3 else stored[..., None]
    return bool(np.abs(shown - stored).max() <= ALIKE)


PROBES = _probes()
