"""The rows of an older output, found by the names of their images and read back on demand.

Memory is some 25 bytes a row, and one row group of vectors at a time.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cfamc_zoo.embedding.arrow import to_numpy
from cfamc_zoo.errors import DataError, first_line

Renamed = Callable[[str], str]  # a name of today to the one that the older output has


class Known:
    """An older output.

    Args:
        files: its Parquet files, in order.
        compared: the columns that tell whether an image has changed.
        renamed: see `moved`.

    Attributes:
        rows: how many there are.

    Raises:
        DataError: a file cannot be read.
    """

    def __init__(
        self,
        files: Sequence[Path],
        compared: Sequence[str],
        renamed: Renamed,
    ):
        self._renamed = renamed
        self._groups: list[tuple[Path, int]] = []  # file and row group
        self._starts: list[int] = []  # each one's first row
        self._read_last: tuple[int, pa.Table] | None = None
        names, stamps = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        self.rows = 0
        for path in files:
            with _open(path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, ["path", *compared])
                    self._groups.append((path, group))
                    self._starts.append(self.rows)
                    self.rows += len(table)
                    names.append(_hashes(table.column("path").to_pylist()))
                    columns = (table.column(name).to_pylist() for name in compared)
                    stamps.append(_hashes([stamp_of(row) for row in zip(*columns, strict=True)]))
        hashes = np.concatenate(names)
        self._order = np.argsort(hashes, kind="stable")
        self._names, self._stamps = hashes[self._order], np.concatenate(stamps)

    def find(self, name: str, stamp: str) -> tuple[int | None, bool]:
        """The row of an image that has not changed, and whether one of its name is there.

        Args:
            name: as the output's column `path` will say it.
            stamp: `stamp_of` what the compared columns say today.
        """
        hashed, wanted = _hashes([self._renamed(name), stamp])
        place = int(self._names.searchsorted(hashed))
        there = False
        while place < len(self._names) and self._names[place] == hashed:
            there, row = True, int(self._order[place])
            if stamp and self._stamps[row] == wanted:
                return row, True
            place += 1
        return None, there

    def read(self, rows: Sequence[int], names: Sequence[str]) -> tuple[np.ndarray, dict[str, list]]:
        """Vectors (N, D) and columns of rows, in the order that is asked for."""
        wanted: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            wanted.setdefault(bisect_right(self._starts, row) - 1, []).append(place)
        found: np.ndarray | None = None
        columns: dict[str, list] = {name: [None] * len(rows) for name in names}
        for group, places in sorted(wanted.items()):
            table = self._group(group)
            inside = [rows[place] - self._starts[group] for place in places]
            vectors = to_numpy(table)
            if found is None:
                found = np.empty((len(rows), vectors.shape[1]), vectors.dtype)
            found[places] = vectors[inside]
            for name in names:
                values = table.column(name).to_pylist()
                for place, row in zip(places, inside, strict=True):
                    columns[name][place] = values[row]
        return (np.empty((0, 0), np.float32) if found is None else found), columns

    def _group(self, number: int) -> pa.Table:
        if self._read_last is None or self._read_last[0] != number:
            path, group = self._groups[number]
            with _open(path) as file:
                self._read_last = number, file.read_row_group(group)
        return self._read_last[1]


def stamp_of(values: Sequence[Any]) -> str:
    """Text of what tells that an image has not changed; "" where any of it is not known."""
    return "" if None in values else " ".join(map(str, values))


def moved(old: Sequence[str], new: Sequence[str]) -> Renamed:
    """Finds names below a folder that has moved: its vectors are still those of its images.

    A new folder stands for an old one where one alone has gone and one alone has come, or where
    one of the same last name has gone.

    Args:
        old: folders that the older output's inputs were given as.
        new: those of today.
    """
    gone = [root for root in old if root not in new]
    come = [root for root in new if root not in old]
    if len(gone) == len(come) == 1:
        pairs = {come[0]: gone[0]}
    else:
        of_gone, of_come = (Counter(Path(root).name for root in roots) for roots in (gone, come))
        alone = {Path(root).name: root for root in gone if of_gone[Path(root).name] == 1}
        named = {root: Path(root).name for root in come if of_come[Path(root).name] == 1}
        pairs = {root: alone[name] for root, name in named.items() if name in alone}
    # The longest first: one folder may lie in another.
    prefixes = sorted(((_prefix(r), _prefix(to)) for r, to in pairs.items()), key=_length)
    stay = [_prefix(root) for root in new if root not in pairs]

    def renamed(name: str) -> str:
        for prefix, to in prefixes:
            if name.startswith(prefix):
                if any(name.startswith(p) and len(p) > len(prefix) for p in stay):
                    return name
                return to + name[len(prefix) :]
        return name

    return renamed


def _length(pair: tuple[str, str]) -> int:
    return -len(pair[0])


def _prefix(root: str) -> str:
    return "" if root == "." else root.rstrip("/\\") + ("\\" if "\\" in root else "/")


def _hashes(texts: Sequence[str]) -> np.ndarray:
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{str(path)!r} cannot be read: {first_line(error)}; make it anew with --overwrite"
        ) from error
