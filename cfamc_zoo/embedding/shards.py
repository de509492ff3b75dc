"""A share of the inputs, for those who start the tasks of a job themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice

from cfamc_zoo.embedding.inputs import Inputs
from cfamc_zoo.embedding.items import Images, Item
from cfamc_zoo.errors import UsageError
from cfamc_zoo.folders import merged


@dataclass(frozen=True)
class Shard:
    """One of `count` shares; `number` begins at 1."""

    number: int
    count: int


def parse_shard(text: str) -> Shard:
    """ "2/4": the second of four.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(
            f"shard {text!r} is none; give NUMBER/COUNT from 1/COUNT to COUNT/COUNT, as 1/4"
        )
    return Shard(number, count)


def share(inputs: Inputs, shard: Shard) -> Inputs:
    """The shard's items; each item is in one shard, whatever process asks.

    Where the number of items is known without reading them, a shard is a stretch of consecutive
    ones: it opens its own files and row groups alone, and the shards' outputs one after the other
    are in the order of the whole. Else items are dealt out in turn, and what can only be read from
    its start, as a distant tar, goes to one shard whole: nothing is read twice.

    Raises:
        UsageError: there are fewer items than shards.
    """
    given = f"shard {shard.number}/{shard.count} of {', '.join(inputs.given)}"
    total = inputs.total
    if total is None:
        return Inputs((given,), (Dealt(inputs.parts, shard.number - 1, shard.count),))
    if total < shard.count:
        raise UsageError(f"{shard.count} shards of {total} images; give at most {total}")
    start, stop = (total * n // shard.count for n in (shard.number - 1, shard.number))
    totals = [part.total or 0 for part in inputs.parts]
    firsts = accumulate(totals, initial=0)
    mine = [
        part.cut(max(start - first, 0), min(stop - first, size))
        for part, size, first in zip(inputs.parts, totals, firsts, strict=False)
        if first < stop and first + size > start
    ]
    return Inputs((given,), tuple(mine))


class Dealt(Images):
    """Every `count`th of what others hold, from number `first` on."""

    total = None

    def __init__(self, parts: Sequence[Images], first: int, count: int):
        self._parts, self._first, self._count = parts, first, count
        self.left_out = Counter[str]()

    def __iter__(self) -> Iterator[Item]:
        yield from chain.from_iterable(self._mine())
        self.left_out = merged(part.left_out for part in self._parts)

    def pieces(self, size: int) -> Iterator[Images]:
        return chain.from_iterable(piece.pieces(size) for piece in self._mine())

    def _mine(self) -> Iterator[Images]:
        each = chain.from_iterable(part.pieces(1) for part in self._parts)
        return islice(each, self._first, None, self._count)
