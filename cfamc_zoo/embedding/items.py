"""One image on its way to a vector, wherever it lies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from cfamc_zoo.errors import DataError

CONTENT_LIMIT = 1 << 29  # bytes of one image that does not lie in a file of its own: 512 MiB


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

    @property
    def held(self) -> int:
        """Bytes of content that is in memory already."""
        content = self.content
        while (inner := getattr(content, "content", None)) is not None:  # someone watches it
            content = inner
        return len(content.data) if isinstance(content, Held) else 0


class Images(Protocol):
    """Where images come from: gone through in order, each time from the start.

    Attributes:
        total: how many items it gives, where that is cheap to know.
        left_out: reasons, and how often each was met; of archives while they are gone through.
    """

    @property
    def total(self) -> int | None: ...

    @property
    def left_out(self) -> Counter[str]: ...

    def __iter__(self) -> Iterator[Item]: ...


@dataclass(frozen=True)
class Held:
    """Content that is in memory, since it can be read in order alone."""

    data: bytes

    def __call__(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class Failed:
    """Content that is known not to be readable."""

    reason: str

    def __call__(self) -> NoReturn:
        raise DataError(self.reason)


def printable(name: str) -> str:
    """The name as valid Unicode: bytes that are none are shown as \\xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def failed(name: str, reason: str) -> Item:
    """What stands for an input, or the rest of one, that cannot be read: its line in the end."""
    return Item(printable(name), Failed(reason))


def nanoseconds(seconds: float) -> int | None:
    """A time of a header, which may be any number; None of what is no time of a file."""
    return int(seconds * 10**9) if math.isfinite(seconds) and 0 <= seconds < 2**33 else None
