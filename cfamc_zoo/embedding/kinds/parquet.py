"""Parquet with a column of images, in the layout of the Hugging Face Hub, a row group at a time."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

from cfamc_zoo.embedding.items import Failed, Held, Images, Item, failed
from cfamc_zoo.embedding.kinds.remote import Stamp, data_errors, is_url, open_place, stamp_of
from cfamc_zoo.errors import DataError
from cfamc_zoo.parquet import bytes_of, image_column

KEPT = 1 << 28  # bytes of row groups in memory: those that decoders are in, and the next
EMPTY = Failed("the row holds no image")
MANY = 16  # row groups in memory, however small they are
FEW = 16  # rows at a time of a group that is larger


class ParquetImages(Images):
    """Images of a Parquet file, wherever it lies; a row is named FILE#NUMBER."""

    def __init__(self, place: str):
        self.place = place
        self.left_out: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return 1 if isinstance(self._groups, Failed) else sum(rows for rows, _ in self._groups)

    def __iter__(self) -> Iterator[Item]:
        if isinstance(self._groups, Failed):
            yield failed(self.place, self._groups.reason)
            return
        first, modified = 0, stamp_of(self.place).modified
        for group, (rows, size) in enumerate(self._groups):
            # What can be read again when its turn comes is; a group too large for that is held.
            contents = (
                (Row(self.place, group, row) for row in range(rows))
                if size <= KEPT
                else _held(self.place, group, rows)
            )
            for row, content in enumerate(contents, first):
                yield Item(f"{self.place}#{row}", content, None, modified)
            first += rows

    @cached_property
    def _groups(self) -> list[tuple[int, int]] | Failed:
        """Of each row group, its rows and the bytes of its images; or why there are none."""
        try:
            with _open(self.place) as file:
                column = _column(file)
                found = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
                return [(group.num_rows, _size(group, column)) for group in found]
        except DataError as error:
            return Failed(str(error))


@dataclass(frozen=True)
class Row:
    """One row's image."""

    place: str
    group: int
    row: int

    def __call__(self) -> bytes:
        value = GROUPS.get(self.place, self.group)[self.row].as_py()
        return EMPTY() if value is None else value


class _Groups:
    """Row groups that were read last: several decoders are at rows of the same ones."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._read: OrderedDict[tuple[str, Stamp, int], Any] = OrderedDict()

    def get(self, place: str, group: int) -> Any:
        """The images of a row group, as Arrow's array of binary values.

        Raises:
            DataError: it cannot be read.
        """
        key = (place, stamp_of(place), group)
        with self._lock:
            if key not in self._read:
                with _open(place) as file:
                    column = _column(file)
                    read = _read(place, lambda: file.read_row_group(group, columns=[column]))
                self._read[key] = bytes_of(read.column(0).combine_chunks())
                while len(self._read) > 1 and (self._bytes() > KEPT or len(self._read) > MANY):
                    self._read.popitem(last=False)
            self._read.move_to_end(key)
            return self._read[key]

    def _bytes(self) -> int:
        return sum(images.nbytes for images in self._read.values())


GROUPS = _Groups()


def _held(place: str, group: int, rows: int) -> Iterator[Held | Failed]:
    """The rows of a group that is too large to be kept, read page by page."""
    done = 0
    try:
        with _open(place) as file:
            columns = [_column(file)]
            batches = file.iter_batches(FEW, row_groups=[group], columns=columns)
            while (batch := _read(place, lambda: next(batches, None))) is not None:
                for value in bytes_of(batch.column(0)).to_pylist():
                    yield EMPTY if value is None else Held(value)
                    done += 1
    except DataError as error:
        for _ in range(done, rows):
            yield Failed(str(error))


def _open(place: str) -> Any:
    import pyarrow.parquet as pq

    # Pages are read as they are needed; by default a column is fetched whole.
    options = {"buffer_size": 1 << 20, "pre_buffer": False}
    return _read(
        place, lambda: pq.ParquetFile(open_place(place) if is_url(place) else place, **options)
    )


def _column(file: Any) -> str:
    try:
        return image_column(file.schema_arrow)
    except KeyError as error:
        names = ", ".join(file.schema_arrow.names) or "none"
        raise DataError(f"no column of images; its columns: {names}") from error


def _size(group: Any, column: str) -> int:
    parts = [group.column(i) for i in range(group.num_columns)]
    mine = [p for p in parts if p.path_in_schema.split(".")[0] == column]
    return sum(part.total_uncompressed_size for part in mine)


def _read(place: str, read: Any) -> Any:
    """What `read` gives; what it raises, as DataError."""
    import pyarrow as pa

    damage = (pa.ArrowException, OSError, MemoryError)
    with data_errors(place, damage, "no Parquet that can be read: {}"):
        return read()
