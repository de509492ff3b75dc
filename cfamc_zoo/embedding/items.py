"""One image on its way to a vector, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """An image that is named before it is read; can be pickled where its content can.

    Attributes:
        name: what the output's column `path` says.
        content: gives the file's path or its bytes; raises DataError where it cannot.
        size: bytes, where they are known without reading.
        modified: nanoseconds since 1970, where known.
    """

    name: str
    content: Callable[[], Path | bytes]
    size: int | None = None
    modified: int | None = None


def of_files(paths: Iterable[Path]) -> Iterator[Item]:
    """Files as items, looked at as they are needed."""
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            yield Item(str(path), partial(Path, path))
        else:
            yield Item(str(path), partial(Path, path), status.st_size, status.st_mtime_ns)
