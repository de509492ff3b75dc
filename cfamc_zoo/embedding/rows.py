"""Inputs to rows of an output, in order: vectors from the model, or from an older output."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from cfamc_zoo.embedding.arrow import column, strings, vectors
from cfamc_zoo.embedding.columns import COLUMNS, watch
from cfamc_zoo.embedding.items import Item, printable
from cfamc_zoo.embedding.known import Known
from cfamc_zoo.embedding.pipeline import Batch

ROUND = 2048  # known inputs that may wait for one in the model
Embed = Callable[[Iterable[Item]], Iterator[Batch]]


Stamp = Callable[[Item], str]


@dataclass(frozen=True)
class Piece:
    """The rows of some consecutive inputs.

    Attributes:
        marks: of the inputs, the unreadable among them.
        table: a row for each readable one.
        kept: rows that an older output had.
        replaced: rows made anew of inputs that it had.
        unreadable: name and reason.
    """

    marks: list[str]
    table: pa.Table
    kept: int
    replaced: int
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class _Entry:
    """An input on its way, without its content."""

    name: str
    mark: str
    said: dict[str, Any]  # by columns; whole once the content was read
    row: int | None  # of the older output, where the input has not changed
    there: bool  # whether the older output has a row of this name


def mark(item: Item, stamp: Stamp) -> str:
    """Tells an input from others, and from what it was before it changed."""
    return f"{printable(item.name)} {stamp(item) or (item.size, item.modified)}"


class Rows:
    """Makes the rows of a schema.

    Args:
        schema: columns `path` and `embedding`, then some of `COLUMNS`.
        known: the older output.
        stamp: what tells that an input has not changed; "" where nothing does.
        scale: float32 vectors (N, D) of the model to those of the schema.
    """

    def __init__(
        self,
        schema: pa.Schema,
        known: Known | None,
        stamp: Stamp,
        scale: Callable[[np.ndarray], np.ndarray],
    ):
        self._schema, self._known, self._stamp, self._scale = schema, known, stamp, scale
        self._columns = [name for name in schema.names if name in COLUMNS]

    def pieces(self, items: Iterator[Item], embed: Embed) -> Iterator[Piece]:
        """All rows, in the order of the inputs; the model sees those that are not known.

        The stream through the model is ended and begun again where too many known inputs wait for
        one in it, so that memory stays flat.
        """
        waiting: deque[_Entry] = deque()
        more = True

        def unknown() -> Iterator[Item]:
            nonlocal more
            known = 0
            for item in items:
                watched, entry = self._entry(item)
                waiting.append(entry)
                if entry.row is None:
                    yield watched
                    continue
                known += 1
                if known == ROUND:
                    return
            more = False

        while more:
            stream = unknown()
            for first in stream:
                for batch in embed(chain([first], stream)):
                    n = len(batch.items) + len(batch.unreadable)
                    yield self._piece(_take(waiting, n), batch)
            if waiting:
                yield self._piece([*waiting], None)
                waiting.clear()

    def _entry(self, item: Item) -> tuple[Item, _Entry]:
        name, stamp = printable(item.name), self._stamp(item)
        row, there = self._known.find(name, stamp) if self._known else (None, False)
        watched, said = watch(item, self._columns)
        return watched, _Entry(name, mark(item, lambda item: stamp), said, row, there)

    def _piece(self, entries: list[_Entry], batch: Batch | None) -> Piece:
        made = deque(printable(item.name) for item in batch.items) if batch else deque()
        rows: list[_Entry] = []
        new: list[int] = []  # places of the model's vectors among the rows
        old: list[int] = []  # places of those from the older output
        for entry in entries:
            if entry.row is not None:
                old.append(len(rows))
                rows.append(entry)
            elif made and made[0] == entry.name:
                made.popleft()
                new.append(len(rows))
                rows.append(entry)
        return Piece(
            [entry.mark for entry in entries],
            self._table(rows, new, old, batch.vectors if batch and new else None),
            kept=len(old),
            replaced=sum(rows[i].there for i in new),
            unreadable=[
                (printable(bad.item.name), bad.reason)
                for bad in (batch.unreadable if batch else ())
            ],
        )

    def _table(
        self, rows: list[_Entry], new: list[int], old: list[int], made: np.ndarray | None
    ) -> pa.Table:
        kind = self._schema.field("embedding").type
        all_vectors = np.empty((len(rows), kind.list_size), kind.value_type.to_pandas_dtype())
        if made is not None:
            all_vectors[new] = self._scale(made)
        if old and self._known is not None:
            wanted = [entry.row for entry in rows if entry.row is not None]
            all_vectors[old], columns = self._known.read(wanted, self._columns)
            for name, values in columns.items():
                for i, value in zip(old, values, strict=True):
                    if rows[i].said[name] is None:
                        rows[i].said[name] = value
        return pa.table(
            [
                strings([entry.name for entry in rows]),
                vectors(all_vectors, kind),
                *(
                    column([entry.said[name] for entry in rows], COLUMNS[name].kind)
                    for name in self._columns
                ),
            ],
            schema=self._schema,
        )


def _take(waiting: deque[_Entry], n: int) -> list[_Entry]:
    """The first entries, with `n` among them that went through the model."""
    taken = []
    while n:
        taken.append(waiting.popleft())
        n -= taken[-1].row is None
    return taken
