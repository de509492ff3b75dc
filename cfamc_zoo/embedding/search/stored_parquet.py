"""Stored vectors in Parquet: a file, or a folder of files that one job wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cfamc_zoo.embedding.search.stored import (
    EMBEDDING,
    PATH,
    REMEDY,
    StoredVectors,
    empty,
    unreadable,
)
from cfamc_zoo.errors import DataError
from cfamc_zoo.folders import is_passed_over, is_text

FLOATS = (pa.float16(), pa.float32(), pa.float64())
SAME = ("sha256", "feature", "preprocessing")  # of all files of a folder
READ = 8  # blocks that are decoded at a time
DAMAGE = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True)
class _Part:
    """One row group."""

    file: Path
    group: int
    first: int  # number of its first row among all
    rows: int

    @property
    def end(self) -> int:
        return self.first + self.rows


class ParquetVectors(StoredVectors):
    """Vectors of Parquet files, one after the other; row groups are read as they are needed."""

    def __init__(self, path: Path, files: Sequence[Path]):
        self.path, self.files = path, tuple(files)
        self.parts: list[_Part] = []
        self.footers: dict[Path, Any] = {}
        self.dimension, self.metadata, self.named = 0, {}, True
        for file in files:
            self._add(file)
        self.count = self.parts[-1].end if self.parts else 0
        if not self.count:
            raise empty(path)

    def _add(self, file: Path) -> None:
        try:
            footer = pq.read_metadata(file)
            schema = footer.schema.to_arrow_schema()
        except DAMAGE as error:
            raise unreadable(file, error) from error
        self.footers[file] = footer
        self._same(file, _metadata(schema), schema)
        for group in range(footer.num_row_groups):
            rows = footer.row_group(group).num_rows
            first = self.parts[-1].end if self.parts else 0
            if rows:
                self.parts.append(_Part(file, group, first, rows))

    def _same(self, file: Path, metadata: dict[str, str], schema: Any) -> None:
        """Takes what the first file says, and has the others say the same."""
        if EMBEDDING not in schema.names or not _holds_floats(schema.field(EMBEDDING).type):
            raise DataError(
                f"{str(file)!r} has no column {EMBEDDING!r} of lists of floats (it has "
                f"{', '.join(map(repr, schema.names[:8]))}); {REMEDY}"
            )
        dimension = self._dimension(file, schema.field(EMBEDDING).type)
        if len(self.footers) == 1:
            self.metadata, self.dimension, self.named = metadata, dimension, PATH in schema.names
            return
        before = [self.metadata.get(key) for key in SAME]
        if [metadata.get(key) for key in SAME] != before or dimension != self.dimension:
            raise DataError(
                f"{str(file)!r} was made otherwise than {str(self.files[0])!r} (another model, "
                "feature or preprocessing); search them one by one"
            )

    def _dimension(self, file: Path, kind: Any) -> int:
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        first = next(_batches(file, self.footers[file], EMBEDDING, [0], 1), None)
        return len(first[0]) if first is not None and len(first) and first[0].is_valid else 0

    def names(self, rows: Sequence[int]) -> list[str]:
        if not self.named:
            return [f"row:{row}" for row in rows]
        found: dict[int, str] = {}
        for part in self.parts:
            wanted = [row for row in set(rows) if part.first <= row < part.end]
            if wanted:
                column = self._column(part)
                found |= {row: str(column[row - part.first]) for row in wanted}
        return [found[row] for row in rows]

    def find(self, name: str) -> int | None:
        if not self.named or not is_text(name):
            return None
        wanted = _scalar(name)
        for part in self.parts:
            column = self._column(part)
            at = pc.index(column, wanted.cast(column.type)).as_py()
            if at >= 0:
                return part.first + int(at)
        return None

    def _column(self, part: _Part) -> Any:
        """The paths of a row group."""
        read = _batches(part.file, self.footers[part.file], PATH, [part.group], part.rows)
        try:
            column = pa.chunked_array(list(read))
        except DAMAGE as error:
            raise unreadable(part.file, error) from error
        plain = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        return column if plain else column.cast(pa.string())

    def _pieces(self, start: int) -> Iterator[np.ndarray]:
        parts = [part for part in self.parts if part.end > start]
        for file in self.files:
            here = [part for part in parts if part.file == file]
            skip = max(0, start - here[0].first) if here else 0
            for piece in self._vectors(here):
                if len(piece) > skip:
                    yield piece[skip:]
                skip = max(0, skip - len(piece))

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        result = np.empty((len(rows), self.dimension), np.float32)
        for part in self.parts:
            at = np.flatnonzero((rows >= part.first) & (rows < part.end))
            first = part.first
            for piece in self._vectors([part]) if len(at) else ():
                inside = at[(rows[at] >= first) & (rows[at] < first + len(piece))]
                result[inside] = piece[rows[inside] - first]
                first += len(piece)
        return result

    def _vectors(self, parts: Sequence[_Part]) -> Iterator[np.ndarray]:
        """(B, D) of row groups of one file."""
        if not parts:
            return
        file = parts[0].file
        groups = [part.group for part in parts]
        first = parts[0].first
        try:
            for column in _batches(file, self.footers[file], EMBEDDING, groups, READ * self.block):
                yield self._array(column, first)
                first += len(column)
        except DAMAGE as error:
            raise unreadable(file, error) from error

    def _array(self, column: Any, first: int) -> np.ndarray:
        if column.null_count:
            row = first + next(i for i, value in enumerate(column) if not value.is_valid)
            raise DataError(f"{str(self.path)!r}: row {row} has no vector; embed again")
        floats = column.flatten()
        if len(floats) != len(column) * self.dimension or floats.null_count:
            raise DataError(
                f"{str(self.path)!r}: vectors from row {first} on are not all of "
                f"{self.dimension} values; {REMEDY}"
            )
        kind = np.dtype(floats.type.to_pandas_dtype())
        # pyarrow's own way to NumPy would import pandas where it is installed.
        buffer = floats.buffers()[1]
        values = np.frombuffer(buffer, kind, len(floats), floats.offset * kind.itemsize)
        return values.reshape(len(column), self.dimension)


def open_folder(folder: Path) -> ParquetVectors:
    """The vectors of all Parquet files of a folder, at any depth.

    Raises:
        DataError: it has none, or they do not go together.
    """
    files = sorted(
        file
        for file in folder.rglob("*.parquet")
        if not any(is_passed_over(part) for part in file.relative_to(folder).parts)
    )
    if not files:
        raise DataError(f"{str(folder)!r} holds no .parquet; {REMEDY}")
    return ParquetVectors(folder, files)


def _batches(file: Path, footer: Any, column: str, groups: list[int], size: int) -> Iterator[Any]:
    with pq.ParquetFile(file, metadata=footer, memory_map=True) as opened:
        for batch in opened.iter_batches(size, row_groups=groups, columns=[column]):
            yield batch.column(0)


def _scalar(text: str) -> Any:
    """`pa.scalar` would import pandas where it is installed."""
    content = text.encode()
    buffers = [None, pa.py_buffer(np.array([0, len(content)], np.int32)), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.string(), 1, buffers)[0]


def _holds_floats(kind: Any) -> bool:
    lists = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    return any(is_one(kind) for is_one in lists) and kind.value_type in FLOATS


def _metadata(schema: Any) -> dict[str, str]:
    found = schema.metadata or {}
    return {k.decode(): v.decode("utf-8", "replace") for k, v in found.items()}
