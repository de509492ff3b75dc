"""Many image files as the model's input, read by several threads; memory stays flat."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess

AHEAD = 16  # files a thread that are read, or wait to be taken


def read_images(
    paths: Iterable[Path], preprocess: Preprocess
) -> Iterator[tuple[Path, np.ndarray | DataError]]:
    """Each file in its order: (S, S, 3) uint8, or why it cannot be read."""

    def read(path: Path) -> np.ndarray | DataError:
        try:
            return read_image(path, preprocess)
        except DataError as error:
            return error

    threads = os.cpu_count() or 1
    waiting: deque[tuple[Path, Future[np.ndarray | DataError]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    # `read_image` mutes warnings for itself. Threads that do so at a time undo each other's
    # filters, so they are kept as they are from out here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for path in paths:
                waiting.append((path, pool.submit(read, path)))
                if len(waiting) > AHEAD * threads:
                    yield _done(waiting)
            while waiting:
                yield _done(waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def _done(
    waiting: deque[tuple[Path, Future[np.ndarray | DataError]]],
) -> tuple[Path, np.ndarray | DataError]:
    path, future = waiting.popleft()
    return path, future.result()
