"""Names that come as a list, one after the other: on standard input, say."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from typing import TypeVar

from cfamc_zoo.embedding.items import Given, Images, Item, failed
from cfamc_zoo.errors import DataError, UsageError

T = TypeVar("T")
AT_ONCE = 1 << 16  # bytes that are read
LONGEST = 1 << 16  # bytes of a name; no system has longer ones
LINE, NULL = b"\n", b"\0"


class Listed(Images):
    """The images that a list names; it is gone through once, as it comes.

    Args:
        stream: names in bytes.
        end: of each, `LINE` or `NULL`.
        resolve: a name to what it stands for.
    """

    total = None

    def __init__(self, stream: BufferedIOBase, end: bytes, resolve: Callable[[str], Images]):
        self.stream, self.end, self.resolve = stream, end, resolve
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Item]:
        return self._each(iter, lambda item: item)

    def pieces(self, size: int) -> Iterator[Images]:
        return self._each(lambda named: named.pieces(size), lambda item: Given([item]))

    def _each(
        self, parts_of: Callable[[Images], Iterator[T]], of_failed: Callable[[Item], T]
    ) -> Iterator[T]:
        """What all names stand for, one after the other."""
        for name in _split(self.stream, self.end):
            text = os.fsdecode(name)
            if len(name) > LONGEST:
                yield of_failed(failed(f"{text[:60]}...", f"a name of over {LONGEST} bytes"))
                continue
            try:
                named = self.resolve(text)
                yield from parts_of(named)
                self.left_out += named.left_out
            except (DataError, UsageError) as error:
                yield of_failed(failed(text, str(error)))


def _split(stream: BufferedIOBase, end: bytes) -> Iterator[bytes]:
    """The names without their ends, empty ones left out; of those too long, the beginning."""
    rest = b""
    while data := stream.read1(AT_ONCE):
        if end == LINE and NULL in data:
            raise UsageError(
                "standard input holds zero bytes, which end no line; give --null for a list that "
                "they separate, and the path of an image rather than itself"
            )
        *names, rest = (rest + data).split(end)
        rest = rest[: LONGEST + 1]
        yield from filter(None, (_name(name, end) for name in names))
    if last := _name(rest, end):
        yield last


def _name(text: bytes, end: bytes) -> bytes:
    return text.removesuffix(b"\r") if end == LINE else text
