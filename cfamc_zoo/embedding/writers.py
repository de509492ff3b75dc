"""Finished parts to one file, which appears whole: Parquet, NumPy, CSV or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import write_array_header_1_0

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.errors import UnknownNameError

Tables = Iterable[pa.Table]


def write(output: Path, tables: Tables, schema: pa.Schema, metadata: dict[str, str]) -> None:
    """Writes vectors in the format of the output's suffix.

    Args:
        output: ends in one of `FORMATS`.
        tables: columns `path` and `embedding`, part by part.
        schema: of the tables.
        metadata: what made the vectors; kept by Parquet alone.

    Raises:
        UnknownNameError: another suffix.
        StorageError: it cannot be written; nothing is left behind.
    """
    writer = FORMATS[check_suffix(output)]
    with atomic_file(output) as path:
        writer(path, output, tables, schema, metadata)


def check_suffix(output: Path) -> str:
    """The output's suffix.

    Raises:
        UnknownNameError: not one of `FORMATS`.
    """
    suffix = output.suffix.lower()
    if suffix not in FORMATS:
        raise UnknownNameError("output format", suffix or output.name, FORMATS)
    return suffix


def _parquet(
    path: Path, output: Path, tables: Tables, schema: pa.Schema, metadata: dict[str, str]
) -> None:
    # Vectors do not repeat: a dictionary of them would be memory and time for nothing.
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": False}
    with pq.ParquetWriter(path, schema.with_metadata(metadata), **options) as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(metadata))


def _npy(
    path: Path, output: Path, tables: Tables, schema: pa.Schema, metadata: dict[str, str]
) -> None:
    """The array, and beside it OUTPUT.paths.txt: one JSON string a row, since names may hold
    line ends."""
    names: list[str] = []
    header = {"descr": "<f4", "fortran_order": False}
    dimension = schema.field("embedding").type.list_size
    with path.open("wb") as file:
        # NumPy pads the header so that the number of rows, known at the end, fits in its place.
        write_array_header_1_0(file, {**header, "shape": (0, dimension)})
        for table in tables:
            file.write(_vectors(table).astype("<f4", copy=False).tobytes())
            names += table.column("path").to_pylist()
        file.seek(0)
        write_array_header_1_0(file, {**header, "shape": (len(names), dimension)})
    with atomic_file(output.with_name(f"{output.name}.paths.txt")) as beside:
        beside.write_text("".join(json.dumps(n, ensure_ascii=False) + "\n" for n in names), "utf-8")


def _csv(
    path: Path, output: Path, tables: Tables, schema: pa.Schema, metadata: dict[str, str]
) -> None:
    dimension = schema.field("embedding").type.list_size
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *(f"e{i}" for i in range(dimension))])
        for name, vector in _rows(tables):
            writer.writerow([name, *(repr(float(v)) for v in vector)])


def _jsonl(
    path: Path, output: Path, tables: Tables, schema: pa.Schema, metadata: dict[str, str]
) -> None:
    with path.open("w", encoding="utf-8") as file:
        for name, vector in _rows(tables):
            line = {"path": name, "embedding": [float(v) for v in vector]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _vectors(table: pa.Table) -> np.ndarray:
    column = table.column("embedding").combine_chunks()
    floats = column.flatten()  # its own way to NumPy would import pandas where it is installed
    begin = floats.offset * np.dtype(np.float32).itemsize
    values = np.frombuffer(floats.buffers()[1], np.float32, len(floats), begin)
    return values.reshape(len(table), column.type.list_size)


def _rows(tables: Tables) -> Iterator[tuple[str, np.ndarray]]:
    for table in tables:
        yield from zip(table.column("path").to_pylist(), _vectors(table), strict=True)


FORMATS: dict[str, Callable[[Path, Path, Tables, pa.Schema, dict[str, str]], None]] = {
    ".parquet": _parquet,
    ".npy": _npy,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
