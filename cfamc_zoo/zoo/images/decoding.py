"""Many images as the model's input, read by several threads; memory stays flat."""

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

Source = Path | bytes | None
AHEAD = 16  # files a thread that are read, or wait to be taken


def read_images(
    sources: Iterable[Source], preprocess: Preprocess
) -> Iterator[tuple[Source, np.ndarray | DataError]]:
    """Each file, or content of one, in its order: (S, S, 3) uint8, or why it cannot be read."""

    def read(source: Source) -> np.ndarray | DataError:
        if source is None:
            return DataError("the row holds no image")
        try:
            return read_image(source, preprocess)
        except DataError as error:
            return error

    threads = os.cpu_count() or 1
    waiting: deque[tuple[Source, Future[np.ndarray | DataError]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    # `read_image` mutes warnings for itself. Threads that do so at a time undo each other's
    # filters, so they are kept as they are from out here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for source in sources:
                waiting.append((source, pool.submit(read, source)))
                if len(waiting) > AHEAD * threads:
                    yield _done(waiting)
            while waiting:
                yield _done(waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def _done(
    waiting: deque[tuple[Source, Future[np.ndarray | DataError]]],
) -> tuple[Source, np.ndarray | DataError]:
    source, future = waiting.popleft()
    return source, future.result()
