"""Images in Parquet, in the layout of the Hugging Face Hub: encoded bytes, and labels if any."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cfamc_zoo.errors import DataError, first_line
from cfamc_zoo.folders import PARTS

SUFFIX = ".parquet"
LABELS = ("label", "labels", "fine_label", "class")  # column names, where no metadata says which
# The Hub's names: train-00000-of-00001.parquet, or test.parquet.
PART = re.compile(r"(?P<part>[A-Za-z]+)(-\d.*)?")


@dataclass(frozen=True)
class Encoded:
    """Encoded images with labels.

    Attributes:
        images: N files' bytes; None where a row has none.
        labels: (N,) int64, indices into `classes`; all 0 where there are none.
        classes: names; empty without a column of labels.
    """

    images: Sequence[bytes | None]
    labels: np.ndarray
    classes: tuple[str, ...]


def find_parquet(path: Path) -> dict[str, list[Path]]:
    """Parquet files of a path by part: "train" and "test", or "" for all of them together.

    Args:
        path: a file, or a folder that holds some at any depth. Anything else has none: {}.
    """
    if path.suffix.lower() == SUFFIX and path.is_file():
        return {"": [path]}
    if not path.is_dir():
        return {}
    files = sorted(file for file in path.rglob(f"*{SUFFIX}") if file.is_file())
    parts: dict[str, list[Path]] = {}
    for file in files:
        parts.setdefault(_part(file), []).append(file)
    if set(parts) >= set(PARTS):
        return {part: parts[part] for part in PARTS}
    return {"": files} if files else {}


def _part(file: Path) -> str:
    named = PART.fullmatch(file.stem)
    said = named["part"].lower() if named else ""
    return next((part for part, names in PARTS.items() if said in names), "")


def read_encoded(files: Sequence[Path], *, label: str | None = None) -> Encoded:
    """All rows of files that have the same columns; their images are not decoded.

    Args:
        label: the column of labels; None is the one that the metadata or its name tells.

    Raises:
        DataError: not Parquet, no column of images, other columns in another file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(files[0])
        image, label = image_column(schema), label or _label_column(schema)
        columns = [image, *([label] if label else [])]
        table = pa.concat_tables([pq.read_table(file, columns=columns) for file in files])
        images = bytes_of(table.column(image).combine_chunks()).to_pylist()
        labels = table.column(label).to_pylist() if label else []
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _refused(files[0], error) from error
    if label is None:
        return Encoded(images, np.zeros(len(images), np.int64), ())
    return Encoded(images, *_numbered(labels, class_names(schema, label)))


def iterate_encoded(files: Sequence[Path]) -> Iterator[bytes | None]:
    """The images of files one after the other, a row group in memory at a time.

    Raises:
        DataError: as `read_encoded`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                column = image_column(file.schema_arrow)
                for batch in file.iter_batches(256, columns=[column]):
                    yield from bytes_of(batch.column(0)).to_pylist()
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _refused(path, error) from error


def count_rows(files: Sequence[Path]) -> int:
    """Rows of all files together.

    Raises:
        DataError: one is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    total = 0
    for path in files:
        try:
            total += pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise _refused(path, error) from error
    return total


def image_column(schema: Any) -> str:
    """The column that holds images: a struct with `bytes`, else one of binary values.

    Raises:
        KeyError: there is none.
    """
    import pyarrow.types as kinds

    for field in schema:
        if kinds.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
    for field in schema:
        if kinds.is_binary(field.type) or kinds.is_large_binary(field.type):
            return str(field.name)
    raise KeyError("no column of images")


def class_names(schema: Any, label: str) -> tuple[str, ...]:
    """Names of the classes from the Hub's metadata; () where it does not say."""
    try:
        info = json.loads(schema.metadata[b"huggingface"])["info"]["features"][label]
        return tuple(map(str, info["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _label_column(schema: Any) -> str | None:
    named = [name for name in schema.names if class_names(schema, name)]
    known = [name for name in LABELS if name in schema.names]
    return next(iter((*named, *known)), None)


def _numbered(labels: list[Any], names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers into names; their own values are the names where there are none."""
    if names:
        wrong = [x for x in labels if x not in range(len(names))]
    else:
        wrong = [x for x in labels if not isinstance(x, int | str)]
    if wrong:
        allowed = f"0..{len(names) - 1}, which its metadata names" if names else "numbers or text"
        raise DataError(f"a label is {wrong[0]!r}; labels must be {allowed}")
    known = sorted(set(labels), key=lambda x: (isinstance(x, str), x))
    number = {value: i for i, value in enumerate(range(len(names)) if names else known)}
    return np.array([number[x] for x in labels], np.int64), names or tuple(map(str, known))


def bytes_of(column: Any) -> Any:
    """Encoded images of an Arrow array: itself, or the `bytes` of its structs."""
    import pyarrow.types as kinds

    return column.field("bytes") if kinds.is_struct(column.type) else column


def _refused(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{str(path)!r} is not Parquet with images: {first_line(error)}; see the "
        "Hub's image data set layout"
    )
