"""Images to vectors as a stream: decoding runs ahead of the model, memory stays flat."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from cfamc_zoo.embedding.items import Failed, Item
from cfamc_zoo.errors import DataError
from cfamc_zoo.folders import PLUGINS, image_suffixes, suffix_of
from cfamc_zoo.zoo.ahead import ahead
from cfamc_zoo.zoo.images.decoding import decode_ahead
from cfamc_zoo.zoo.images.preprocess import read_image, to_input
from cfamc_zoo.zoo.network.spec import Preprocess

if TYPE_CHECKING:
    from cfamc_zoo.embedding.backends import Backend

AHEAD = 4  # batches being decoded or waiting, beside the one in the model
GONE = Failed("its content was given up when it had been read")
Decoded = tuple[Item, np.ndarray | DataError]  # the model's input, or why there is none


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, and why."""

    item: Item
    reason: str


@dataclass(frozen=True)
class Batch:
    """Some of the inputs, in order: vectors (N, D) float32 of the readable ones, and the rest.

    Items keep their names, sizes and times, but no content.
    """

    items: list[Item]
    vectors: np.ndarray
    unreadable: list[Unreadable]


def embed_files(
    items: Iterable[Item],
    backend: Backend,
    preprocess: Preprocess,
    *,
    batch_size: int,
    decoders: int = 1,
    in_flight: int = 1,
) -> Iterator[Batch]:
    """Embeds images, in their order.

    Args:
        items: gone through as they are needed, in the caller's own thread.
        backend: images to features.
        preprocess: the model's.
        batch_size: images at a time.
        decoders: threads that read and decode; Pillow's decoders run beside the model.
        in_flight: batches in the model at a time, each in a thread of its own if several.
    """
    image_suffixes()  # makes the plug-ins known

    def read(item: Item) -> Decoded:
        # What the item holds would fill the memory until its rows are written.
        return replace(item, content=GONE), _pixels(item, preprocess)

    waiting = AHEAD * batch_size
    decoded = decode_ahead(
        items, read, threads=decoders, waiting=waiting, weight=lambda item: item.held
    )
    return embed_decoded(decoded, backend, batch_size=batch_size, in_flight=in_flight)


def embed_decoded(
    decoded: Generator[Decoded, None, None],
    backend: Backend,
    *,
    batch_size: int,
    in_flight: int = 1,
) -> Iterator[Batch]:
    """Embeds what decoding in threads gives: (S, S, 3) uint8, or float32 in [0, 1]."""

    def finish(batch: list[Decoded]) -> Batch:
        return _finish(batch, backend)

    with closing(decoded):  # whoever stops early waits for no image that is not begun
        batches = iter(lambda: list(islice(decoded, batch_size)), [])
        if in_flight == 1:
            yield from map(finish, batches)
        else:
            yield from ahead(batches, finish, threads=in_flight, waiting=in_flight)


def _finish(decoded: list[Decoded], backend: Backend) -> Batch:
    unreadable = [Unreadable(item, str(e)) for item, e in decoded if isinstance(e, DataError)]
    items = [item for item, pixels in decoded if not isinstance(pixels, DataError)]
    images = [pixels for _, pixels in decoded if not isinstance(pixels, DataError)]
    return Batch(items, _vectors(images, backend), unreadable)


def _vectors(images: list[np.ndarray], backend: Backend) -> np.ndarray:
    if not images:
        return np.empty((0, 0), np.float32)
    if all(image.dtype == np.uint8 for image in images):
        return backend(to_input(np.stack(images)))
    return backend(np.concatenate([to_input(image[None]) for image in images]))


def _pixels(item: Item, preprocess: Preprocess) -> np.ndarray | DataError:
    try:
        return read_image(item.content(), preprocess)
    except DataError as error:
        package = PLUGINS.get(suffix := suffix_of(item.name))
        if package and suffix not in image_suffixes():
            return DataError(f"{error}; `pip install {package}` makes {suffix} readable")
        return error


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit L2 norm; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-12))
