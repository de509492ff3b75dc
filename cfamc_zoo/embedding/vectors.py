"""Images that a Python caller has, to vectors: what `cfamc_zoo.embed` and its stream are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from threading import Lock

import numpy as np
from PIL import Image

from cfamc_zoo.embedding.concurrency import decoder_threads, share
from cfamc_zoo.embedding.items import Failed, Item
from cfamc_zoo.embedding.opening import open_for
from cfamc_zoo.embedding.pipeline import AHEAD, Batch, Decoded, embed_decoded
from cfamc_zoo.embedding.scaling import scale
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.embedding.sources import Source, name_of, one_by_one, pixels_of, weight_of
from cfamc_zoo.errors import DataError
from cfamc_zoo.folders import image_suffixes
from cfamc_zoo.zoo.images.decoding import decode_ahead
from cfamc_zoo.zoo.release.folder import Release

NO_CONTENT = Failed("the image was handed over, not its content")


def embed_stream(
    images: Source | Iterable[Source],
    release: Release,
    settings: Settings,
    execution: Execution,
    on_unreadable: Callable[[str, str], object] | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and vectors of images, batch by batch, in their order.

    Args:
        images: one or many, as `cfamc_zoo.embed` takes them; all become the model's input as
            files do. They are gone through as they are needed, in the caller's own thread.
        release: the model.
        settings: of the vectors.
        execution: what vectors do not depend on.
        on_unreadable: told an image's name and why it cannot be read; it has no row then. None
            raises that.

    Returns:
        Of each batch the names of its rows, and (N, D) of the settings' dtype with N at most the
        batch size, never 0. What has no name has its number, from "0" on.

    Raises:
        UnknownNameError, UsageError, ReleaseError: as `open_backend`, before the first batch.
        DataError: an image that cannot be read, or is none; says which.
    """
    image_suffixes()  # makes the plug-ins known
    sources = one_by_one(images)
    model = open_for(release, settings, execution)
    preprocess, one_at_a_time = release.config.preprocess, Lock()

    def read(numbered: tuple[int, Source]) -> Decoded:
        i, source = numbered
        item = Item(name_of(source, i), NO_CONTENT)
        try:
            # The same object may come twice, and is read by one thread at a time.
            with one_at_a_time if _is_shared(source) else nullcontext():
                return item, pixels_of(source, i, preprocess)
        except DataError as error:
            return item, error

    decoded = decode_ahead(
        enumerate(sources),
        read,
        threads=decoder_threads(execution.threads),
        waiting=AHEAD * execution.batch_size,
        weight=lambda numbered: weight_of(numbered[1]),
    )
    in_flight = share(release, settings, execution).in_flight
    batches = embed_decoded(decoded, model, batch_size=execution.batch_size, in_flight=in_flight)
    return _rows(
        batches, partial(scale, unit=settings.normalize, dtype=settings.dtype), on_unreadable
    )


def embed_images(
    images: Source | Iterable[Source], release: Release, settings: Settings, execution: Execution
) -> np.ndarray:
    """Vectors of images in one array, (N, D); all as `embed_stream` takes it."""
    dimension = release.config.architecture.dimension(settings.features)
    rows = [np.empty((0, dimension), np.float32)]
    rows += [vectors for _, vectors in embed_stream(images, release, settings, execution)]
    return np.concatenate(rows, dtype=settings.dtype)


def _is_shared(source: Source) -> bool:
    return isinstance(source, Image.Image) or hasattr(source, "read")


def _rows(
    batches: Iterator[Batch],
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
