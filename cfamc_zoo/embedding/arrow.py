"""Arrow arrays from lists and NumPy, and back.

pyarrow's own ways import pandas where it is installed, and take its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def strings(texts: Sequence[str | None]) -> pa.Array:
    """A column of text."""
    encoded = [(text or "").encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [_present(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def integers(values: Sequence[int | None], kind: pa.DataType) -> pa.Array:
    """A column of whole numbers of type `kind`."""
    numbers = np.array([value or 0 for value in values], kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(values), [_present(values), pa.py_buffer(numbers)])


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """A column of text or of whole numbers; None is null."""
    return strings(values) if kind == pa.string() else integers(values, kind)


def vectors(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """(N, D) float32 or float16 as a column of lists of a fixed size."""
    flat = np.ascontiguousarray(values).reshape(-1)
    floats = pa.Array.from_buffers(kind.value_type, len(flat), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(floats, type=kind)


def to_numpy(table: pa.Table) -> np.ndarray:
    """The column `embedding` of a table: (N, D) float32 or float16."""
    lists = table.column("embedding").combine_chunks()
    floats = lists.flatten()
    dtype = np.dtype(floats.type.to_pandas_dtype())
    values = np.frombuffer(floats.buffers()[1], dtype, len(floats), floats.offset * dtype.itemsize)
    return values.reshape(len(table), lists.type.list_size)


def _present(values: Sequence[Any]) -> pa.Buffer | None:
    """Bits of what is not null; None where nothing is."""
    if None not in values:
        return None
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))
