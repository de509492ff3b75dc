"""Images to vectors as a stream: decoding runs ahead of the model, memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cfamc_zoo.embedding.ahead import Work, in_order
from cfamc_zoo.embedding.backends import Backend
from cfamc_zoo.embedding.items import Failed, Held, Item
from cfamc_zoo.errors import DataError
from cfamc_zoo.folders import PLUGINS, image_suffixes, suffix_of
from cfamc_zoo.zoo.images.preprocess import read_image, to_input
from cfamc_zoo.zoo.network.spec import Preprocess

GONE = Failed("its content was given up when it had been read")
Pixels = np.ndarray | DataError  # the model's input, or why there is none


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
) -> Iterator[Batch]:
    """Embeds images, in their order.

    Args:
        items: gone through as they are needed, in the caller's own thread.
        backend: images to features.
        preprocess: the model's.
        batch_size: images at a time.
        decoders: threads that read and decode; Pillow's decoders run beside the model.
    """
    image_suffixes()  # makes the plug-ins known
    works = (
        Work(_without_content(item), partial(_read, item, preprocess), _weight(item))
        for item in items
    )
    return embed_decoded(works, backend, batch_size=batch_size, decoders=decoders)


def embed_decoded(
    works: Iterable[Work[Item, Pixels]], backend: Backend, *, batch_size: int, decoders: int
) -> Iterator[Batch]:
    """Embeds what decoding in threads gives: (S, S, 3) uint8, or float32 in [0, 1]."""
    # While the model works on a batch the next one is decoded, and every decoder has more.
    ahead = 2 * batch_size + 2 * decoders
    items: list[Item] = []
    images: list[np.ndarray] = []
    unreadable: list[Unreadable] = []
    for item, pixels in in_order(works, threads=decoders, ahead=ahead):
        if isinstance(pixels, DataError):
            unreadable.append(Unreadable(item, str(pixels)))
        else:
            items.append(item)
            images.append(pixels)
        if len(items) + len(unreadable) == batch_size:
            yield Batch(items, _vectors(images, backend), unreadable)
            items, images, unreadable = [], [], []
    if items or unreadable:
        yield Batch(items, _vectors(images, backend), unreadable)


def _vectors(images: list[np.ndarray], backend: Backend) -> np.ndarray:
    if not images:
        return np.empty((0, 0), np.float32)
    if all(image.dtype == np.uint8 for image in images):
        return backend(to_input(np.stack(images)))
    return backend(np.concatenate([to_input(image[None]) for image in images]))


def _read(item: Item, preprocess: Preprocess) -> Pixels:
    try:
        return read_image(item.content(), preprocess)
    except DataError as error:
        package = PLUGINS.get(suffix := suffix_of(item.name))
        if package and suffix not in image_suffixes():
            return DataError(f"{error}; `pip install {package}` makes {suffix} readable")
        return error


def _without_content(item: Item) -> Item:
    """The item as it goes on: what it holds would fill the memory until its rows are written."""
    return replace(item, content=GONE)


def _weight(item: Item) -> int:
    return len(item.content.data) if isinstance(item.content, Held) else 0


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit L2 norm; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-12))
