"""Images to one array of vectors in memory: what `cfamc_zoo.embed` is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice

import numpy as np

from cfamc_zoo.embedding.backends import open_backend
from cfamc_zoo.embedding.scaling import check_dtype, scale
from cfamc_zoo.embedding.sources import Source, one_by_one, pixels_of
from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.images.preprocess import to_input
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.folder import Release


def embed_images(
    images: Source | Iterable[Source],
    release: Release,
    *,
    features: str = "backbone",
    normalize: bool = False,
    backend: str = "onnx",
    device: str | None = None,
    batch_size: int = 32,
    threads: int | None = None,
    dtype: str = "float32",
) -> np.ndarray:
    """Vectors of images, in their order.

    Args:
        images: one or many, as `cfamc_zoo.embed` takes them; all become the model's input as
            files do.
        release: the model.
        features, backend, device, threads: as `open_backend` takes them.
        normalize: rows at unit L2 norm.
        batch_size: images at a time.
        dtype: "float32" or "float16".

    Returns:
        (N, D) of `dtype`.

    Raises:
        UnknownNameError, UsageError, ReleaseError: as `open_backend`.
        DataError: an image that cannot be read, or is none; says which.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size!r}; it must be 1 or more")
    check_dtype(dtype)
    sources = one_by_one(images)
    model = open_backend(release, feature=features, backend=backend, device=device, threads=threads)
    rows = [np.empty((0, release.config.architecture.dimension(features)), np.float32)]
    batches = _batches(sources, release.config.preprocess, batch_size)
    rows += [scale(model(batch), unit=normalize, dtype=dtype) for batch in batches]
    return np.concatenate(rows, dtype=dtype)


def _batches(
    sources: Iterator[Source], preprocess: Preprocess, batch_size: int
) -> Iterator[np.ndarray]:
    """(N, 3, S, S) float32 in [0, 1]."""
    numbered = zip(count(), sources, strict=False)
    while pixels := [pixels_of(image, i, preprocess) for i, image in islice(numbered, batch_size)]:
        yield np.concatenate([to_input(image[None]) for image in pixels])
