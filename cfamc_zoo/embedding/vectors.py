"""Images to one array of vectors in memory: what `cfamc_zoo.embed` is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from cfamc_zoo.embedding.backends import open_backend
from cfamc_zoo.embedding.job import SCALINGS
from cfamc_zoo.embedding.pipeline import normalize
from cfamc_zoo.errors import DataError, UnknownNameError
from cfamc_zoo.zoo.preprocess import fit, read_image, to_input
from cfamc_zoo.zoo.spec import Preprocess
from cfamc_zoo.zoo.weights import Release

Source = str | PathLike[str] | np.ndarray


def embed_images(
    images: Sequence[Source] | np.ndarray,
    release: Release,
    *,
    feature: str = "backbone",
    backend: str = "onnx",
    scaling: str = "none",
    device: str | None = None,
    threads: int | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Vectors of images, in their order.

    Args:
        images: paths and arrays, mixed as you like; an array is (H, W, 3) or (H, W) uint8, of any
            size, and becomes the model's input as a file would.
        release: the model.
        feature, backend, device, threads: as `open_backend` takes them.
        scaling: "none", or "unit" for rows at unit L2 norm.
        batch_size: images at a time.

    Returns:
        (N, D) float32.

    Raises:
        UnknownNameError, UsageError, ReleaseError: as `open_backend`.
        DataError: an image that cannot be read, or an array that is none; says which.
    """
    if scaling not in SCALINGS:
        raise UnknownNameError("scaling", scaling, SCALINGS)
    model = open_backend(release, feature=feature, backend=backend, device=device, threads=threads)
    rows = [np.empty((0, release.config.architecture.dimension(feature)), np.float32)]
    rows += [model(to_input(x)) for x in _batches(images, release.config.preprocess, batch_size)]
    vectors = np.concatenate(rows)
    return normalize(vectors) if scaling == "unit" else vectors


def _batches(
    images: Sequence[Source] | np.ndarray, preprocess: Preprocess, batch_size: int
) -> Iterator[np.ndarray]:
    for start in range(0, len(images), batch_size):
        batch = enumerate(images[start : start + batch_size], start)
        yield np.stack([_pixels(source, i, preprocess) for i, source in batch])


def _pixels(source: Source, i: int, preprocess: Preprocess) -> np.ndarray:
    """One image as (S, S, 3) uint8."""
    if isinstance(source, np.ndarray):
        grey_or_rgb = source.ndim == 2 or (source.ndim == 3 and source.shape[2] == 3)
        if source.dtype != np.uint8 or not grey_or_rgb or 0 in source.shape:
            raise DataError(
                f"image {i} is {source.dtype} {source.shape}; give (H, W, 3) or (H, W) uint8"
            )
        return fit(Image.fromarray(source), preprocess)
    try:
        return read_image(Path(source), preprocess)
    except DataError as error:
        raise DataError(f"image {i}, {str(source)!r}, cannot be read: {error}") from error
