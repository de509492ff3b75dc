"""A job cut into what one worker does at a time: each unit becomes one part of the output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cfamc_zoo.embedding.inputs import Inputs
from cfamc_zoo.embedding.items import Images

Unit = list[Images]
FEWEST = 32  # items of a unit: a batch
UNITS = 64  # at the least, where there are items enough, so that many workers have some


def cut(inputs: Inputs, largest: int) -> list[Unit]:
    """All items in their order, as units of a size that depends on their number alone.

    No image is read. A piece that can only be read from its start is a unit by itself.

    Args:
        largest: items of a unit.
    """
    total = inputs.total
    first = FEWEST if total is None else size_for(total, largest)
    pieces = [piece for part in inputs.parts for piece in part.pieces(min(first, largest))]
    return [*_together(pieces, size_for(sum(piece.total or 0 for piece in pieces), largest))]


def size_for(total: int, largest: int) -> int:
    """Items of a unit: a power of two, so that a few more images seldom change it."""
    wanted: int = 2 ** max(total // UNITS, FEWEST - 1).bit_length()
    return min(wanted, largest)


def _together(pieces: Iterable[Images], size: int) -> Iterator[Unit]:
    held: Unit = []
    items = 0
    for piece in pieces:
        if held and (piece.total is None or items + piece.total > size):
            yield held
            held, items = [], 0
        if piece.total is None:
            yield [piece]
        else:
            held.append(piece)
            items += piece.total
    if held:
        yield held
