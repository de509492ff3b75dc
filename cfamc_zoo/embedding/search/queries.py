"""Nearest images among stored vectors: what `cfamc-zoo search` is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from cfamc_zoo.embedding.search.nearest import nearest
from cfamc_zoo.embedding.search.stored import StoredVectors
from cfamc_zoo.errors import DataError, UsageError

if TYPE_CHECKING:
    from cfamc_zoo.embedding.search.index import VectorIndex
    from cfamc_zoo.embedding.search.origin import Origin
    from cfamc_zoo.embedding.sources import Source

ROW = "row:"


@dataclass(frozen=True)
class Query:
    """What neighbours are looked for.

    Attributes:
        name: as it was asked for.
        vector: (D,) float32 at unit L2 norm.
        path: of its image; "" of an image in memory.
        row: of a query that is one of the stored vectors: its number, which is no answer.
    """

    name: str
    vector: np.ndarray
    path: str = ""
    row: int | None = None


@dataclass(frozen=True)
class Neighbour:
    """One answer.

    Attributes:
        row: its number among the stored vectors.
        similarity: cosine, in -1..1.
        path: what stands in their column `path`.
    """

    row: int
    similarity: float
    path: str


@dataclass(frozen=True)
class Answer:
    """A query and its neighbours, the most similar first."""

    query: Query
    neighbours: list[Neighbour] = field(default_factory=list)


def find_queries(
    queries: int | Source | Iterable[str | int | Source],
    vectors: StoredVectors,
    origin: Callable[[], Origin],
    *,
    threads: int | None = None,
) -> list[Query]:
    """Queries as vectors.

    Args:
        queries: one or many, each a row of the file (17, or "row:17"), a path that stands in its
            column `path`, or an image as `cfamc_zoo.embed` takes it.
        vectors: those that will be searched.
        origin: what made them; called only where an image has to be embedded.
        threads: CPU threads of the model; None is one a core.

    Raises:
        UsageError: no such row, file or path; or as `origin_of`.
        DataError: no image, or a vector of zeros, which points nowhere.
    """
    asked = _listed(queries)
    if not asked:
        raise UsageError("no query; give image files, paths of the file, or rows like row:0")
    rows = {i: row for i, q in enumerate(asked) if (row := _row(q, vectors)) is not None}
    images = {i: q for i, q in enumerate(asked) if i not in rows and not isinstance(q, int)}
    names = [_name(query, i) for i, query in enumerate(asked)]
    found = np.empty((len(asked), vectors.dimension), np.float32)
    if rows:
        found[list(rows)] = vectors.rows(list(rows.values()))
    if images:
        found[list(images)] = embedded(images.values(), origin(), threads)
    for name, vector in zip(names, found, strict=True):
        if not vector.any():
            raise DataError(f"query {name!r} has a vector of zeros, which is like no other")
    paths = dict(zip(rows, vectors.names(list(rows.values())), strict=True))
    paths |= {i: names[i] for i, q in images.items() if isinstance(q, str | os.PathLike)}
    return [Query(names[i], found[i], paths.get(i, ""), rows.get(i)) for i in range(len(asked))]


def search(
    queries: Sequence[Query], vectors: StoredVectors, k: int, *, index: VectorIndex | None = None
) -> list[Answer]:
    """The k nearest stored vectors of each query, by cosine similarity.

    Args:
        queries: as `find_queries` returns them.
        vectors: N of them; each is looked at, in blocks, unless an index is given.
        k: how many; a query that is a row itself has N - 1 others.
        index: of these vectors; it finds most of the true neighbours, faster.

    Raises:
        UsageError: as `check_k`.
        DataError: a vector that is not finite, or a file that cannot be read.
    """
    check_k(k, queries, vectors)
    own = _own(queries)
    asked = np.stack([query.vector for query in queries])
    find = nearest if index is None else index.nearest
    rows, similar = find(vectors, asked, k + own)
    return [
        Answer(query, _neighbours(vectors, query, rows[i], similar[i], k))
        for i, query in enumerate(queries)
    ]


def check_k(k: int, queries: Sequence[Query], vectors: StoredVectors) -> None:
    """Refuses a number of neighbours before any work is done.

    Raises:
        UsageError: it is less than 1, or more than there are.
    """
    most = vectors.count - _own(queries)
    if 1 <= k <= most:
        return
    besides = " besides the query" if _own(queries) else ""
    remedy = f"give 1 to {most}" if most else "embed more images"
    raise UsageError(f"k is {k}, and {str(vectors.path)!r} has {most} vectors{besides}; {remedy}")


def _own(queries: Sequence[Query]) -> int:
    """1 where a query is one of the stored vectors, so finds itself."""
    return int(any(query.row is not None for query in queries))


def _neighbours(
    vectors: StoredVectors, query: Query, rows: np.ndarray, similar: np.ndarray, k: int
) -> list[Neighbour]:
    others = np.flatnonzero(rows != (-1 if query.row is None else query.row))[:k]
    chosen = rows[others].tolist()
    found = zip(chosen, similar[others].tolist(), vectors.names(chosen), strict=True)
    return [Neighbour(*one) for one in found]


def _listed(queries: int | Source | Iterable[str | int | Source]) -> list[int | Source]:
    from cfamc_zoo.embedding.sources import one_by_one

    rows: list[int | Source] = [queries] if isinstance(queries, int | np.integer) else []
    return rows or list(one_by_one(cast("Iterable[Source]", queries)))


def _row(query: str | int | Source, vectors: StoredVectors) -> int | None:
    """The row that a query names; None of an image."""
    if isinstance(query, str | os.PathLike):
        text = os.fspath(query)
        number = text.removeprefix(ROW)
        if text.startswith(ROW) and number.isascii() and number.isdigit():
            query = int(number)
        else:
            row = vectors.find(text)
            if row is None and not os.path.lexists(text):
                raise UsageError(
                    f"query {text!r} is no file, and no path of {str(vectors.path)!r}; give an "
                    "image file, a path that stands there, or a row like row:0"
                )
            return row
    if not isinstance(query, int | np.integer):
        return None
    if not 0 <= query < vectors.count:
        raise UsageError(
            f"row {query} is not in {str(vectors.path)!r}; give 0 to {vectors.count - 1}"
        )
    return int(query)


def _name(query: str | int | Source, i: int) -> str:
    if isinstance(query, str | os.PathLike):
        return os.fspath(query)
    return f"{ROW}{query}" if isinstance(query, int | np.integer) else f"image {i}"


def embedded(images: Iterable[Source], origin: Origin, threads: int | None) -> np.ndarray:
    """(N, D) float32 at unit L2 norm, made as the stored vectors were."""
    from cfamc_zoo.embedding.settings import Execution, Settings
    from cfamc_zoo.embedding.vectors import embed_images

    settings = Settings(origin.feature, origin.backend, normalize=True)
    return embed_images(images, origin.release, settings, Execution(threads=threads))
