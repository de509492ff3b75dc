"""A job's finished parts, kept beside its output until that is whole.

Parts are Arrow files of a fixed number of inputs each, written atomically, in a hidden folder
that names the output. A folder of another job (other inputs, model or settings) is discarded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cfamc_zoo.atomic import atomic_file, storage_errors
from cfamc_zoo.embedding.items import Item
from cfamc_zoo.embedding.pipeline import Unreadable

PART = 2048  # inputs


class Partial:
    """The parts of one job.

    Args:
        output: the file that the job will write.
        items: its inputs; also their sizes and times are part of what makes a job the same.
        settings: everything else that its vectors depend on.
        dimension: of the vectors.

    Attributes:
        discarded: whether there were parts of another job, now gone.

    Raises:
        StorageError: the folder cannot be made.
    """

    def __init__(
        self, output: Path, items: Sequence[Item], settings: dict[str, Any], dimension: int
    ):
        self.folder = output.with_name(f".{output.name}.partial")
        self.total = len(items)
        self.schema = pa.schema(
            [("path", pa.string()), ("embedding", pa.list_(pa.float32(), dimension))]
        )
        job = _digest(items, settings)
        self.discarded = False
        with storage_errors(output):
            marker = self.folder / "job"
            if self.folder.exists() and (
                not marker.exists() or marker.read_bytes() != job.encode()
            ):
                self.discarded = any(self.folder.glob("*.arrow"))
                shutil.rmtree(self.folder)
            self.folder.mkdir(exist_ok=True)
            if not marker.exists():
                with atomic_file(marker) as path:
                    path.write_bytes(job.encode())
        self.parts = 0
        while self._part(self.parts).exists():
            self.parts += 1

    @property
    def done(self) -> int:
        """Inputs that finished parts cover."""
        return min(self.parts * PART, self.total)

    def add(self, items: list[Item], vectors: np.ndarray, unreadable: list[Unreadable]) -> None:
        """Keeps the next part: once this returns, a kill does not lose it."""
        flat = np.ascontiguousarray(vectors, np.float32).reshape(-1)
        floats = pa.Array.from_buffers(pa.float32(), len(flat), [None, pa.py_buffer(flat)])
        column = pa.FixedSizeListArray.from_arrays(floats, type=self.schema.field(1).type)
        table = pa.table([_strings([item.name for item in items]), column], schema=self.schema)
        bad = json.dumps([[u.item.name, u.reason] for u in unreadable])
        table = table.replace_schema_metadata({"unreadable": bad})
        with (
            atomic_file(self._part(self.parts)) as path,
            path.open("wb") as sink,  # pyarrow itself refuses names that are not UTF-8
            pa.ipc.new_file(sink, table.schema) as file,
        ):
            file.write_table(table)
        self.parts += 1

    def tables(self) -> Iterator[pa.Table]:
        """The parts in order, one at a time."""
        for i in range(self.parts):
            with self._part(i).open("rb") as source, pa.ipc.open_file(source) as file:
                table = file.read_all()
            yield table.replace_schema_metadata(None)

    def unreadable(self) -> list[tuple[str, str]]:
        """Path and reason of every input that could not be read."""
        result = []
        for i in range(self.parts):
            with self._part(i).open("rb") as source, pa.ipc.open_file(source) as file:
                metadata = file.schema.metadata
            result += [(path, reason) for path, reason in json.loads(metadata[b"unreadable"])]
        return result

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _part(self, i: int) -> Path:
        return self.folder / f"{i:06}.arrow"


def _strings(texts: list[str]) -> pa.Array:
    """`pa.array` would import pandas where it is installed, and take its memory."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _digest(items: Sequence[Item], settings: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for item in items:
        digest.update(f"{item.size} {item.modified} {item.name}\0".encode())
    return digest.hexdigest()
