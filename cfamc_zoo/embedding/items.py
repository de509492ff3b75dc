"""One image on its way to a vector, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
