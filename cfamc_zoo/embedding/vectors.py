"""Images that a Python caller has, to vectors: what `cfamc_zoo.embed` and its stream are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from cfamc_zoo.embedding import pipeline
from cfamc_zoo.embedding.ahead import Work
from cfamc_zoo.embedding.backends import open_backend
from cfamc_zoo.embedding.items import Failed, Item
from cfamc_zoo.embedding.pipeline import Pixels
from cfamc_zoo.embedding.scaling import check_dtype, scale
from cfamc_zoo.embedding.sources import Source, name_of, one_by_one, pixels_of, weight_of
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.folders import image_suffixes
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.folder import Release

NO_CONTENT = Failed("the image was handed over, not its content")


def embed_stream(
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
    decoders: int = 1,
    on_unreadable: Callable[[str, str], object] | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and vectors of images, batch by batch, in their order.

    Args:
        images: one or many, as `cfamc_zoo.embed` takes them; all become the model's input as
            files do. They are gone through as they are needed, in the caller's own thread.
        release: the model.
        features, backend, device, threads: as `open_backend` takes them.
        normalize: rows at unit L2 norm.
        batch_size: images at a time.
        dtype: "float32" or "float16".
        decoders: threads that read and decode.
        on_unreadable: told an image's name and why it cannot be read; it has no row then. None
            raises that.

    Returns:
        Of each batch the names of its rows, and (N, D) of `dtype` with N at most `batch_size`,
        never 0. What has no name has its number, from "0" on.

    Raises:
        UnknownNameError, UsageError, ReleaseError: as `open_backend`, before the first batch.
        DataError: an image that cannot be read, or is none; says which.
    """
    check_dtype(dtype)
    for name, value in (("batch_size", batch_size), ("decoders", decoders)):
        if value < 1:
            raise UsageError(f"{name} is {value!r}; it must be 1 or more")
    image_suffixes()  # makes the plug-ins known
    sources = one_by_one(images)
    model = open_backend(release, feature=features, backend=backend, device=device, threads=threads)
    preprocess = release.config.preprocess
    works = (_work(source, i, preprocess) for i, source in enumerate(sources))
    batches = pipeline.embed_decoded(works, model, batch_size=batch_size, decoders=decoders)
    return _rows(batches, partial(scale, unit=normalize, dtype=dtype), on_unreadable)


def embed_images(
    images: Source | Iterable[Source],
    release: Release,
    *,
    features: str = "backbone",
    dtype: str = "float32",
    **options: Any,
) -> np.ndarray:
    """Vectors of images in one array, (N, D) of `dtype`; all as `embed_stream` takes it."""
    rows = [np.empty((0, release.config.architecture.dimension(features)), np.float32)]
    rows += [v for _, v in embed_stream(images, release, features=features, dtype=dtype, **options)]
    return np.concatenate(rows, dtype=dtype)


def _work(source: Source, i: int, preprocess: Preprocess) -> Work[Item, Pixels]:
    def pixels() -> Pixels:
        try:
            return pixels_of(source, i, preprocess)
        except DataError as error:
            return error

    return Work(Item(name_of(source, i), NO_CONTENT), pixels, weight_of(source))


def _rows(
    batches: Iterator[pipeline.Batch],
    scaled: Callable[[np.ndarray], np.ndarray],
    on_unreadable: Callable[[str, str], object] | None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    for batch in batches:
        for bad in batch.unreadable:
            if on_unreadable is None:
                raise DataError(bad.reason)
            on_unreadable(bad.item.name, bad.reason)
        if batch.items:
            yield [item.name for item in batch.items], scaled(batch.vectors)
