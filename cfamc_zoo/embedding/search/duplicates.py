"""Groups of near-duplicates: what hangs together by pairs that are similar enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cfamc_zoo.embedding.search.queries import Neighbour
from cfamc_zoo.embedding.search.stored import StoredVectors
from cfamc_zoo.errors import UsageError

if TYPE_CHECKING:
    from cfamc_zoo.embedding.search.index import VectorIndex

HELD = 256 << 20  # bytes of vectors that all later ones are compared with in one reading
ROUNDING = 1e-6  # of similarities in float32: equal vectors may come out as 0.9999998
EXACT = 200_000  # vectors, up to which every pair is looked at; beyond, an index is quicker
# Neighbours that an index is asked for, and the most, where all of them are near enough.
FIRST, MOST = 16, 256


@dataclass(frozen=True)
class Group:
    """Images that hang together.

    Attributes:
        members: in the order of their rows; `similarity` is that to the nearest other member.
    """

    members: list[Neighbour]


def find_duplicates(
    vectors: StoredVectors,
    threshold: float,
    *,
    index: VectorIndex | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> list[Group]:
    """The connected components of pairs whose cosine similarity is at least a threshold.

    A component may hold two images that are less similar, with others between them.

    Args:
        vectors: N of them; every pair is looked at, block by block, unless an index is given.
        threshold: over 0, at most 1.
        index: of these vectors; it misses a few pairs, and of a vector with more than 256 near
            enough ones all beyond those. Similarities are then of float16, right to about 0.001.
        advance: told how many more vectors have been compared with all others.

    Returns:
        Groups of two and more, the largest first; of equal ones, the one with the lowest row.

    Raises:
        UsageError: a threshold out of range.
        DataError: a vector that is not finite, or a file that cannot be read.
    """
    check_threshold(threshold)
    pairs = _all_pairs if index is None else _pairs_of(index)
    parents = np.arange(vectors.count)
    similar = np.full(vectors.count, -1, np.float32)
    for a, b, values in pairs(vectors, threshold - ROUNDING, advance):
        np.maximum.at(similar, a, values)
        np.maximum.at(similar, b, values)
        _join(parents, a, b)
    return _groups(vectors, _roots(parents, np.arange(len(parents))), similar.clip(-1, 1))


def check_threshold(threshold: float) -> None:
    """Refuses a threshold before any work is done.

    Raises:
        UsageError: it is 0 or less, over 1, or not a number.
    """
    if not 0 < threshold <= 1:
        raise UsageError(
            f"the threshold is {threshold}; it must be over 0 and at most 1, the similarity of "
            "equal vectors"
        )


Pairs = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]  # rows, other rows, similarities


def _all_pairs(vectors: StoredVectors, threshold: float, advance: Callable[[int], None]) -> Pairs:
    """Some vectors are held in memory, and all from them on are read once more."""
    blocks = max(1, HELD // (4 * vectors.dimension) // vectors.block)
    start = 0
    while start < vectors.count:
        held: list[tuple[int, np.ndarray]] = []
        for block in vectors.blocks(start):
            unit = block.unit()
            if len(held) < blocks:
                held.append((block.first, unit))
            for first, other in held:
                values = other @ unit.T
                a, b = np.nonzero(values >= threshold)
                once = first + a < block.first + b
                a, b = a[once], b[once]
                yield first + a, block.first + b, values[a, b]
        compared = sum(len(unit) for _, unit in held)
        start += compared
        advance(compared)


def _pairs_of(
    index: VectorIndex,
) -> Callable[[StoredVectors, float, Callable[[int], None]], Pairs]:
    def pairs(vectors: StoredVectors, threshold: float, advance: Callable[[int], None]) -> Pairs:
        for block in vectors.blocks():
            unit = block.unit()
            rows, count = np.arange(len(unit)), min(FIRST, vectors.count)
            while len(rows):
                others, values = index.candidates(unit[rows], count)
                near = (values >= threshold) & (others >= 0)
                near &= others != (block.first + rows)[:, None]
                at, place = np.nonzero(near)
                yield block.first + rows[at], others[at, place], values[at, place]
                if count == min(MOST, vectors.count):
                    break
                # There may be more where even the last of them is near enough.
                rows = rows[(values[:, -1] >= threshold) & (others[:, -1] >= 0)]
                count = min(4 * count, MOST, vectors.count)
            advance(len(unit))

    return pairs


def _roots(parents: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of each row the lowest one that it hangs on."""
    roots = parents[rows]
    while (roots != parents[roots]).any():
        roots = parents[roots]
    return roots


def _join(parents: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Hangs the higher root of each pair on the lower one, until every pair has one root."""
    while True:
        one, other = _roots(parents, a), _roots(parents, b)
        apart = one != other
        if not apart.any():
            break
        a, b, one, other = a[apart], b[apart], one[apart], other[apart]
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))


def _groups(vectors: StoredVectors, roots: np.ndarray, similar: np.ndarray) -> list[Group]:
    order = np.argsort(roots, kind="stable")
    ends = np.flatnonzero(np.diff(roots[order])) + 1
    members = [rows.tolist() for rows in np.split(order, ends) if len(rows) > 1]
    members.sort(key=lambda rows: (-len(rows), rows[0]))
    together = [row for rows in members for row in rows]
    names = dict(zip(together, vectors.names(together), strict=True))
    return [
        Group([Neighbour(row, float(similar[row]), names[row]) for row in rows]) for rows in members
    ]
