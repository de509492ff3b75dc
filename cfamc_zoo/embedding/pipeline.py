"""Images to vectors as a stream: decoding runs ahead of the model, memory stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images.preprocess import read_image, to_input
from cfamc_zoo.zoo.network.spec import Preprocess

if TYPE_CHECKING:
    from cfamc_zoo.embedding.backends import Backend

AHEAD = 4  # batches being decoded or waiting, beside the one in the model


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
) -> Iterator[Batch]:
    """Embeds files, in their order.

    Args:
        paths: image files.
        backend: images to features.
        preprocess: the model's.
        batch_size: images at a time.
        decoders: threads that read and decode; Pillow's decoders run beside the model.
    """
    chunks = (paths[i : i + batch_size] for i in range(0, len(paths), batch_size))
    waiting: deque[Future[_Decoded]] = deque()
    pool = ThreadPoolExecutor(decoders, thread_name_prefix="decode")
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_decode, chunk, preprocess))
            if len(waiting) > AHEAD:
                yield _finish(waiting.popleft().result(), backend)
        while waiting:
            yield _finish(waiting.popleft().result(), backend)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Decoded:
    paths: list[Path]
    images: list[np.ndarray]
    unreadable: list[Unreadable]


def _decode(paths: Sequence[Path], preprocess: Preprocess) -> _Decoded:
    decoded = _Decoded([], [], [])
    for path in paths:
        try:
            image = read_image(path, preprocess)
        except DataError as error:
            decoded.unreadable.append(Unreadable(path, str(error)))
        else:
            decoded.paths.append(path)
            decoded.images.append(image)
    return decoded


def _finish(decoded: _Decoded, backend: Backend) -> Batch:
    if not decoded.images:
        return Batch([], np.empty((0, 0), np.float32), decoded.unreadable)
    vectors = backend(to_input(np.stack(decoded.images)))
    return Batch(decoded.paths, vectors, decoded.unreadable)


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit L2 norm; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-12))
