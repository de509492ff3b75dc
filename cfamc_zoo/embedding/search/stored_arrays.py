"""Stored vectors in one array: NumPy's format, mapped and not read, or text."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cfamc_zoo.embedding.search.stored import EMBEDDING, PATH, REMEDY, StoredVectors, empty
from cfamc_zoo.errors import DataError


class ArrayVectors(StoredVectors):
    """Vectors of one array, which may be mapped from a file."""

    def __init__(self, path: Path, array: np.ndarray, names: list[str] | None):
        self.path, self.files, self.metadata = path, (path,), {}
        if array.ndim != 2 or array.dtype.kind != "f":
            raise DataError(
                f"{str(path)!r} is {array.dtype} {array.shape}, not (N, D) floats; {REMEDY}"
            )
        if not array.size:
            raise empty(path)
        if names is not None and len(names) != len(array):
            raise DataError(
                f"{str(path)!r} has {len(array)} rows and its list of paths {len(names)}; embed "
                "again"
            )
        # Still mapped, without what NumPy's own class for that does at every slice.
        self.array, self.known = np.asarray(array), names
        self.count, self.dimension = array.shape

    def names(self, rows: Sequence[int]) -> list[str]:
        return [f"row:{row}" if self.known is None else self.known[row] for row in rows]

    def find(self, name: str) -> int | None:
        return self.known.index(name) if self.known and name in self.known else None

    def _pieces(self, start: int) -> Iterator[np.ndarray]:
        yield self.array[start:]

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        return self.array[rows]


def open_npy(path: Path) -> StoredVectors:
    beside = path.with_name(f"{path.name}.paths.txt")
    names = None
    if beside.exists():
        names = [json.loads(line) for line in beside.read_text("utf-8").split("\n") if line]
    return ArrayVectors(path, np.load(path, mmap_mode="r", allow_pickle=False), names)


def open_csv(path: Path) -> StoredVectors:
    def rows(file: Any) -> Iterator[tuple[str, list[Any]]]:
        lines = csv.reader(file)
        header = next(lines, [])
        if header[:1] != [PATH]:
            raise ValueError(f"its first column is {(header or ['nothing'])[0]!r}, not {PATH!r}")
        return ((line[0], line[1:]) for line in lines)

    return _text(path, rows)


def open_jsonl(path: Path) -> StoredVectors:
    def rows(file: Any) -> Iterator[tuple[str, list[Any]]]:
        lines = map(json.loads, file)
        return ((line[PATH], line[EMBEDDING]) for line in lines)

    return _text(path, rows)


def _text(path: Path, rows: Callable[[Any], Iterator[tuple[str, list[Any]]]]) -> StoredVectors:
    """Text holds some five times the bytes of its vectors, so these fit where it does."""
    names: list[str] = []
    parts: list[np.ndarray] = []
    with path.open(newline="", encoding="utf-8") as file:
        found = rows(file)
        while some := list(islice(found, 1024)):
            names += [name for name, _ in some]
            parts.append(np.array([vector for _, vector in some], np.float32))
    if not parts:
        raise empty(path)
    return ArrayVectors(path, np.concatenate(parts), names)
