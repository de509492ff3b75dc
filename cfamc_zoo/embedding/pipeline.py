"""Images to vectors as a stream: decoding runs ahead of the model, memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from cfamc_zoo.embedding.backends import Backend
from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.ahead import ahead
from cfamc_zoo.zoo.images.decoding import decode_ahead
from cfamc_zoo.zoo.images.preprocess import read_image, to_input
from cfamc_zoo.zoo.network.spec import Preprocess

AHEAD = 4  # batches being decoded or waiting, beside the one in the model
_Read = tuple[Path, np.ndarray | DataError]


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Batch:
    """Some of the inputs, in order: vectors (N, D) float32 of the readable ones, and the rest."""

    paths: list[Path]
    vectors: np.ndarray
    unreadable: list[Unreadable]


def embed_files(
    paths: Sequence[Path],
    backend: Backend,
    preprocess: Preprocess,
    *,
    batch_size: int,
    decoders: int = 1,
    in_flight: int = 1,
) -> Iterator[Batch]:
    """Embeds files, in their order.

    Args:
        paths: image files.
        backend: images to features.
        preprocess: the model's.
        batch_size: images at a time.
        decoders: threads that read and decode; Pillow's decoders run beside the model.
        in_flight: batches in the model at a time, each in a thread of its own if several.
    """

    def read(path: Path) -> _Read:
        try:
            return path, read_image(path, preprocess)
        except DataError as error:
            return path, error

    def finish(batch: list[_Read]) -> Batch:
        return _finish(batch, backend)

    decoded = decode_ahead(paths, read, threads=decoders, waiting=AHEAD * batch_size)
    with closing(decoded):  # whoever stops early waits for no image that is not begun
        batches = iter(lambda: list(islice(decoded, batch_size)), [])
        if in_flight == 1:
            yield from map(finish, batches)
        else:
            yield from ahead(batches, finish, threads=in_flight, waiting=in_flight)


def _finish(read: list[_Read], backend: Backend) -> Batch:
    unreadable = [Unreadable(path, str(e)) for path, e in read if isinstance(e, DataError)]
    images = [image for _, image in read if not isinstance(image, DataError)]
    if not images:
        return Batch([], np.empty((0, 0), np.float32), unreadable)
    paths = [path for path, image in read if not isinstance(image, DataError)]
    return Batch(paths, backend(to_input(np.stack(images))), unreadable)


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit L2 norm; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-12))
