"""Finished parts to the output, which appears whole: each format a function and a line below."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.lib.format import write_array_header_1_0

from cfamc_zoo.atomic import atomic_file, storage_errors
from cfamc_zoo.embedding.arrow import to_numpy
from cfamc_zoo.embedding.partial import ARROW, PARQUET, PARQUET_OPTIONS, Partial, Store

FOLDER = "/"  # the format of a folder of Parquet files


def _parquet(output: Path, parts: Partial) -> None:
    with atomic_file(output) as path, pq.ParquetWriter(path, parts.schema, **PARQUET_OPTIONS) as w:
        for table in parts.tables():
            w.write_table(table)


def _npy(output: Path, parts: Partial) -> None:
    """The array, and OUTPUT.paths.txt: one JSON string a row, since names may hold line ends.

    Whichever array is there, the names beside it are its own: an older one is set aside before
    its names go, and the new one comes when its names are there.
    """
    kind = parts.schema.field("embedding").type
    dtype = np.dtype(kind.value_type.to_pandas_dtype()).newbyteorder("<")
    header = {"descr": dtype.str, "fortran_order": False}
    try:
        with atomic_file(output) as path, atomic_file(_names(output)) as beside:
            with path.open("wb") as file, beside.open("w", encoding="utf-8", newline="\n") as names:
                shape = (parts.total("rows"), kind.list_size)
                write_array_header_1_0(file, {**header, "shape": shape})
                for table in parts.tables():
                    file.write(to_numpy(table).astype(dtype, copy=False).tobytes())
                    for name in table.column("path").to_pylist():
                        names.write(json.dumps(name, ensure_ascii=False) + "\n")
            if output.exists():
                os.replace(output, _old(output))
                _names(output).touch()  # an array of others may have none
                os.replace(_names(output), _old(_names(output)))
    finally:
        _recover_npy(output)


def _recover_npy(output: Path) -> None:
    """Ends what a kill has left halfway: the old pair again, where the new one is not whole."""
    pair = (_names(output), output)  # so that the array is the last to come back
    with storage_errors(output):
        if _old(output).exists() and not output.exists():
            for path in pair:
                if _old(path).exists():
                    os.replace(_old(path), path)
            if _names(output).exists() and not _names(output).stat().st_size:
                _names(output).unlink()
        for path in pair:
            _old(path).unlink(missing_ok=True)


def _names(output: Path) -> Path:
    return output.with_name(f"{output.name}.paths.txt")


def _csv(output: Path, parts: Partial) -> None:
    dimension = parts.schema.field("embedding").type.list_size
    with (
        atomic_file(output) as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow([*_others(parts), *(f"e{i}" for i in range(dimension))])
        for others, vector in _rows(parts):
            writer.writerow([*others, *(repr(float(v)) for v in vector)])


def _jsonl(output: Path, parts: Partial) -> None:
    names = _others(parts)
    with atomic_file(output) as path, path.open("w", encoding="utf-8") as file:
        for others, vector in _rows(parts):
            line = {**dict(zip(names, others, strict=True)), "embedding": list(map(float, vector))}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _others(parts: Partial) -> list[str]:
    """The columns beside the vectors."""
    return [name for name in parts.schema.names if name != "embedding"]


def _rows(parts: Partial) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
    for table in parts.tables():
        others = [table.column(name).to_pylist() for name in _others(parts)]
        yield from zip(zip(*others, strict=True), to_numpy(table), strict=True)


def _folder(output: Path, parts: Partial) -> None:
    """The parts' own folder under the output's name, and beside it OUTPUT.unreadable.jsonl.

    Every reader of folders then finds nothing but Parquet files of one schema.
    """
    reasons = output.with_name(f"{output.name}.unreadable.jsonl")
    with storage_errors(output):
        bad = parts.unreadable()
        if bad:
            with atomic_file(reasons) as path, path.open("w", encoding="utf-8") as file:
                for name, reason in bad:
                    line = {"path": name, "reason": reason}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        else:
            reasons.unlink(missing_ok=True)
        old = _old(output)
        if output.exists():
            os.replace(output, old)
        os.replace(parts.folder, output)
        shutil.rmtree(old, ignore_errors=True)


def _recover_folder(output: Path) -> None:
    """Ends what a kill has left halfway: between two folders' change of places, or after it."""
    old = _old(output)
    with storage_errors(output):
        if old.exists() and not output.exists():
            os.replace(old, output)
        elif old.exists():
            shutil.rmtree(old)


def _old(output: Path) -> Path:
    return output.with_name(f".{output.name}.old")


@dataclass(frozen=True)
class Format:
    """One kind of output.

    Attributes:
        finish: makes it of the parts.
        recover: puts back or removes what a killed `finish` has set aside; raises StorageError.
        columns: whether it has room for more than path and vector.
        described: whether it says what made it, so that it can be updated.
        store: how its parts are kept.
    """

    finish: Callable[[Path, Partial], None]
    recover: Callable[[Path], None] = lambda output: None
    columns: bool = True
    described: bool = False
    store: Store = ARROW


FORMATS: dict[str, Format] = {
    ".parquet": Format(_parquet, described=True),
    ".npy": Format(_npy, _recover_npy, columns=False),
    ".csv": Format(_csv),
    ".jsonl": Format(_jsonl),
    FOLDER: Format(_folder, _recover_folder, described=True, store=PARQUET),
}
