"""An index of stored vectors, kept in a file: a search reads a small part of what it would else.

HNSW graphs by usearch: one file that is mapped and not read, without OpenMP of its own. Vectors
are in it as float16; what it finds is compared once more in float32, so similarities are those of
the exact search.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cfamc_zoo.atomic import atomic_file, check_folder_of
from cfamc_zoo.embedding.search.nearest import nearest, ordered
from cfamc_zoo.embedding.search.stored import StoredVectors
from cfamc_zoo.errors import DataError, UsageError, first_line

# Links of a node, and candidates while it is added and while one is searched for.
LINKS, ADDED_AMONG, SEARCHED_AMONG = 16, 128, 256
SAMPLED, NEIGHBOURS = 100, 10  # queries that the recall is measured with, and their neighbours
TOGETHER = 2000  # candidates that are read at a time: rows of a file that lie close are read once


@dataclass(frozen=True)
class _File:
    """What tells a file from another: content, and the size and time that stand for it."""

    size: int
    modified: int  # nanoseconds since 1970
    sha256: str


@dataclass(frozen=True)
class _Beside:
    """What FILE.json says of an index.

    Attributes:
        vectors: the files that it was made of, in their order.
        index: the file of the index itself.
        recall: the part of the true 10 nearest that it found, of 100 stored vectors.
    """

    vectors: list[_File]
    index: _File
    recall: float


@dataclass(frozen=True)
class VectorIndex:
    """An index that belongs to some stored vectors.

    Attributes:
        recall: the part of the true 10 nearest that it finds, in 0..1: measured when it was
            built, with 100 of the vectors themselves.
    """

    graph: Any
    recall: float

    def nearest(
        self, vectors: StoredVectors, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `embedding.nearest.nearest`; most of the true neighbours, k of N in any case."""
        rows, similar = [], []
        count = min(vectors.count, 2 * k)
        group = max(1, TOGETHER // count)
        for first in range(0, len(queries), group):
            asked = queries[first : first + group]
            candidates = self.candidates(asked, count)[0]
            if ((candidates >= 0).sum(1) < k).any():  # the graph has parts that cannot be reached
                return nearest(vectors, queries, k)
            different = np.unique(candidates[candidates >= 0])
            products = (asked @ vectors.rows(different).T).clip(-1, 1)
            for own, values in zip(candidates, products, strict=True):
                among = np.isin(different, own)
                found = ordered(different[among], values[among], k)
                rows.append(found[0])
                similar.append(found[1])
        return np.stack(rows), np.stack(similar)

    def candidates(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """What the graph itself finds for (Q, D) unit vectors.

        Returns:
            Rows (Q, count) int64 and similarities (Q, count) float32 of vectors in float16, the
            highest first; where fewer are found, rows of -1.
        """
        self.graph.expansion_search = max(SEARCHED_AMONG, count)
        found = self.graph.search(queries, count)
        rows = found.keys.reshape(len(queries), -1).astype(np.int64)
        similar = 1 - found.distances.reshape(len(queries), -1)
        counts = np.reshape(getattr(found, "counts", rows.shape[1]), (-1, 1))
        return np.where(np.arange(rows.shape[1]) < counts, rows, -1), similar


def build_index(
    vectors: StoredVectors, *, advance: Callable[[int], None] = lambda n: None
) -> VectorIndex:
    """An index in memory; a million vectors take two cores some twenty minutes.

    Args:
        advance: told how many more vectors are in it.

    Raises:
        UsageError: usearch is not installed.
        DataError: as `StoredVectors.blocks`.
    """
    graph = _usearch()(
        ndim=vectors.dimension,
        metric="ip",  # of unit vectors the cosine, in a third of the products
        dtype="f16",
        connectivity=LINKS,
        expansion_add=ADDED_AMONG,
        expansion_search=SEARCHED_AMONG,
    )
    for block in vectors.blocks():
        graph.add(np.arange(block.first, block.first + len(block.vectors)), block.unit())
        advance(len(block.vectors))
    built = VectorIndex(graph, 0.0)
    return replace(built, recall=_recall(built, vectors))


def keep_index(
    file: Path, vectors: StoredVectors, *, advance: Callable[[int], None] = lambda n: None
) -> VectorIndex:
    """Builds an index and writes it to `file`, and what belongs to it to FILE.json beside.

    Raises:
        UsageError, DataError: as `build_index`.
        StorageError: it cannot be written.
    """
    built = build_index(vectors, advance=advance)
    beside = _beside(file)
    beside.unlink(missing_ok=True)  # so that none stands beside another's index
    with atomic_file(file) as path:
        built.graph.save(os.fspath(path))
    said = _Beside([_file(f) for f in vectors.files], _file(file), built.recall)
    with atomic_file(beside) as path:
        path.write_text(json.dumps(asdict(said), indent=2) + "\n", "utf-8")
    return open_index(file, vectors)


def open_index(file: Path, vectors: StoredVectors) -> VectorIndex:
    """An index that `keep_index` wrote.

    A file that has the size and time it had is taken for the same; else its content is compared.

    Raises:
        UsageError: it belongs to other vectors, or usearch is not installed.
        DataError: it is damaged, or not an index.
    """
    said = _read_beside(file)
    files = [Path(f) for f in vectors.files]
    if len(files) != len(said.vectors) or not all(map(_is, files, said.vectors)):
        raise UsageError(
            f"index {str(file)!r} is not of {str(vectors.path)!r} as it is now; delete it, and it "
            "is built anew"
        )
    if not _is(file, said.index):
        raise _damaged(file, "it is not the file that was written")
    try:
        graph = _usearch().restore(os.fspath(file), view=True)
    except (RuntimeError, ValueError) as error:
        raise _damaged(file, first_line(error)) from error
    if graph is None or len(graph) != vectors.count or graph.ndim != vectors.dimension:
        raise _damaged(file, "it does not hold these vectors")
    return VectorIndex(graph, said.recall)


def check_index(file: Path) -> None:
    """Refuses a place for an index before any work is done.

    Raises:
        UsageError: its folder does not exist, it is one itself, or usearch is not installed.
    """
    check_folder_of(file)
    if file.is_dir():
        raise UsageError(f"index {str(file)!r} is a folder; give a file")
    _usearch()


def _usearch() -> Any:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise UsageError("an index needs usearch; pip install 'cfamc-zoo[search]'") from error
    return Index


def _recall(built: VectorIndex, vectors: StoredVectors) -> float:
    """Against the exact search, with vectors spread over all of them."""
    k = min(NEIGHBOURS, vectors.count)
    sampled = np.unique(np.linspace(0, vectors.count - 1, SAMPLED).astype(np.int64))
    queries = vectors.rows(sampled)
    queries = queries[queries.any(1)]
    if not len(queries):
        return 1.0
    exact, found = nearest(vectors, queries, k)[0], built.nearest(vectors, queries, k)[0]
    same = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    return sum(same) / (k * len(queries))


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _read_beside(file: Path) -> _Beside:
    try:
        said = json.loads(_beside(file).read_text("utf-8"))
        return _Beside(
            [_File(**one) for one in said["vectors"]], _File(**said["index"]), said["recall"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(file, f"{_beside(file).name} beside it cannot be read") from error


def _damaged(file: Path, why: str) -> DataError:
    return DataError(f"{str(file)!r} is no index that can be used: {why}; delete it")


def _file(path: Path) -> _File:
    status = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _File(status.st_size, status.st_mtime_ns, digest)


def _is(path: Path, known: _File) -> bool:
    status = path.stat()
    if status.st_size != known.size:
        return False
    return status.st_mtime_ns == known.modified or _file(path).sha256 == known.sha256
