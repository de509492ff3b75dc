"""A job's finished parts, kept until its output is whole.

A part is a file that covers the next inputs of the stream. It is written atomically, into a hidden
folder that names the output, and says by which settings it was made and which inputs it covers.
The next try compares the parts with its own inputs, one after the other: from the first
difference on they are discarded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cfamc_zoo.atomic import atomic_file, storage_errors
from cfamc_zoo.embedding.items import Item

PART = 2048  # inputs, at the least
PARTITION = 8192  # inputs of a part that is also a file of a partitioned output
PARTITION_BYTES = 64 * 2**20  # of its vectors


@dataclass
class Part:
    """What a part covers.

    Attributes:
        items: inputs.
        digest: of their marks.
        rows: vectors.
        kept: of these, taken from an older output.
        replaced: of these, made anew for an input that the older output had.
        older: rows of the older output.
        unreadable: name and reason.
    """

    items: int = 0
    digest: str = ""
    rows: int = 0
    kept: int = 0
    replaced: int = 0
    older: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Store:
    """How parts are kept.

    Attributes:
        name: of the part's number.
        write, read, schema: of a path.
        size: inputs of a part, by the bytes of a vector.
    """

    name: str
    write: Callable[[Path, pa.Table], None]
    read: Callable[[Path], pa.Table]
    schema: Callable[[Path], pa.Schema]
    size: Callable[[int], int]


def _write_arrow(path: Path, table: pa.Table) -> None:
    # pyarrow itself refuses names that are not UTF-8.
    with path.open("wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)


def _read_arrow(path: Path) -> pa.Table:
    with path.open("rb") as source, pa.ipc.open_file(source) as file:
        return file.read_all()


def _arrow_schema(path: Path) -> pa.Schema:
    with path.open("rb") as source, pa.ipc.open_file(source) as file:
        return file.schema


# Vectors do not repeat: a dictionary of them would be memory and time for nothing.
PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "use_dictionary": False}


def _write_parquet(path: Path, table: pa.Table) -> None:
    with path.open("wb") as sink:
        pq.write_table(table, sink, row_group_size=PART, **PARQUET_OPTIONS)


def _read_parquet(path: Path) -> pa.Table:
    with path.open("rb") as source, pq.ParquetFile(source) as file:
        return file.read()


def _parquet_schema(path: Path) -> pa.Schema:
    with path.open("rb") as source, pq.ParquetFile(source) as file:
        return file.schema_arrow


ARROW = Store("{:06}.arrow", _write_arrow, _read_arrow, _arrow_schema, lambda width: PART)
PARQUET = Store(
    "part-{:05}.parquet",
    _write_parquet,
    _read_parquet,
    _parquet_schema,
    lambda width: max(1, min(PARTITION, PARTITION_BYTES // width)),
)


class Partial:
    """The parts of one job.

    Args:
        output: what the job will write.
        schema: of its rows; the metadata says what made them.
        settings: everything that its rows depend on, beside the inputs.
        mark: text that tells an input from others and from what it was before it changed.
        store: how parts are kept.

    Attributes:
        folder: where they are.
        done: the finished parts.
        discarded: whether there were parts of another job, now gone.
    """

    def __init__(
        self,
        output: Path,
        schema: pa.Schema,
        settings: dict[str, Any],
        mark: Callable[[Item], str],
        store: Store = ARROW,
    ):
        self.output, self.schema, self.mark, self.store = output, schema, mark, store
        self.folder = output.with_name(f".{output.name}.partial")
        self.done: list[Part] = []
        self.discarded = False
        self._job = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Inputs of a part, by the bytes of a vector."""
        kind = self.schema.field("embedding").type
        return self.store.size(kind.list_size * kind.value_type.bit_width // 8)

    def resume(self, items: Iterator[Item]) -> Iterator[Item]:
        """Goes on with the parts that are there.

        Returns:
            The inputs that they do not cover.

        Raises:
            StorageError: what is discarded cannot be removed.
        """
        while (part := self.find(len(self.done))) is not None:
            held = list(islice(items, part.items))
            if digest([self.mark(item) for item in held]) != part.digest:
                items = chain(held, items)
                break
            self.done.append(part)
        self._keep_first(len(self.done))
        return items

    def add(self, table: pa.Table, part: Part) -> None:
        """Keeps the next part: once this returns, a kill does not lose it.

        Raises:
            StorageError: it cannot be written.
        """
        self.put(len(self.done), table, part)
        self.done.append(part)

    def put(self, i: int, table: pa.Table, part: Part) -> None:
        """Keeps the part of number `i`, in whatever order they are made; as `add`."""
        with storage_errors(self.output):
            self.folder.mkdir(exist_ok=True)
        said = {**(self.schema.metadata or {}), "job": self._job, "part": json.dumps(asdict(part))}
        with atomic_file(self._path(i)) as path:
            self.store.write(path, table.replace_schema_metadata(said))

    def end(self, done: Sequence[Part]) -> None:
        """All parts are there, in this order; what else is there goes.

        Raises:
            StorageError: it cannot be removed.
        """
        self.done = [*done]
        self._keep_first(len(self.done))

    def tables(self) -> Iterator[pa.Table]:
        """The parts in order, one at a time."""
        for i in range(len(self.done)):
            yield self.store.read(self._path(i)).replace_schema_metadata(self.schema.metadata)

    def total(self, name: str) -> int:
        """Of a number that each part has."""
        return sum(getattr(part, name) for part in self.done)

    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of every input that could not be read."""
        return [(name, reason) for part in self.done for name, reason in part.unreadable]

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, i: int) -> Path:
        return self.folder / self.store.name.format(i)

    def find(self, i: int) -> Part | None:
        """What a part covers; None where there is none of this job."""
        try:
            said = self.store.schema(self._path(i)).metadata or {}
            if said[b"job"].decode() != self._job:
                return None
            return Part(**json.loads(said[b"part"]))
        except (OSError, KeyError, TypeError, ValueError):  # pyarrow's errors are ValueErrors
            return None

    def _keep_first(self, i: int) -> None:
        """Removes everything but the first `i` parts: also what a killed process half-wrote."""
        kept = {self._path(j).name for j in range(i)}
        with storage_errors(self.output):
            for path in self.folder.iterdir() if self.folder.exists() else ():
                if path.name not in kept:
                    self.discarded |= not path.name.startswith(".") and path.is_file()
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def digest(marks: Sequence[str]) -> str:
    """Of the marks of inputs, in their order."""
    return hashlib.sha256("".join(f"{len(mark)} {mark}" for mark in marks).encode()).hexdigest()
