"""Many images as the model's input, read by several threads; memory stays flat."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.ahead import ahead
from cfamc_zoo.zoo.cores import usable_cores
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess

Source = Path | bytes | None
Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 16  # files a thread that are read, or wait to be taken
# Handed over one by one, images of 32 x 32 pixels took a fifth more time.
GROUP = 4


def read_images(
    sources: Iterable[Source], preprocess: Preprocess
) -> Iterator[tuple[Source, np.ndarray | DataError]]:
    """Each file, or content of one, in its order: (S, S, 3) uint8, or why it cannot be read."""

    def read(source: Source) -> tuple[Source, np.ndarray | DataError]:
        if source is None:
            return source, DataError("the row holds no image")
        try:
            return source, read_image(source, preprocess)
        except DataError as error:
            return source, error

    threads = usable_cores()
    return decode_ahead(sources, read, threads=threads, waiting=AHEAD * threads)


def decode_ahead(
    items: Iterable[Item],
    read: Callable[[Item], Result],
    *,
    threads: int,
    waiting: int,
    weight: Callable[[Item], int] = lambda item: 0,
) -> Generator[Result, None, None]:
    """As `ahead`, where `read` calls `read_image`."""
    # `read_image` mutes warnings for itself. Threads that do so at a time undo each other's
    # filters, so they are kept as they are from out here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from ahead(items, read, threads=threads, waiting=waiting, group=GROUP, weight=weight)
