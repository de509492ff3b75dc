"""One image on its way to a vector, wherever it lies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from cfamc_zoo.errors import DataError

T = TypeVar("T")
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

    left_out: Counter[str]

    @property
    def total(self) -> int | None: ...

    def __iter__(self) -> Iterator[Item]: ...

    def cut(self, start: int, stop: int) -> Images:
        """The items from number `start` on and before `stop`; the total is known."""
        return Stretch(self, start, stop)

    def pieces(self, size: int) -> Iterator[Images]:
        """All items in pieces that other processes can go through, each by itself.

        A piece has at most `size` items, or a total of None: it can only be read from its start.
        """
        if self.total is None:
            yield from map(Given, batches(self, size))
        else:
            for start in range(0, self.total, size):
                yield self.cut(start, min(start + size, self.total))


@dataclass(frozen=True)
class Stretch(Images):
    """Consecutive ones of others; those before them are gone through, but not read."""

    images: Images
    start: int
    stop: int
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Item]:
        return islice(self.images, self.start, self.stop)


@dataclass(frozen=True)
class Given(Images):
    """Items that are there already."""

    items: Sequence[Item]
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of `size`; the last may be shorter."""
    rest = iter(values)
    return iter(lambda: list(islice(rest, size)), [])


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
