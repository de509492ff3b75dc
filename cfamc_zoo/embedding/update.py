"""An output brought up to date: what must be the same, and what tells an image that stayed."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cfamc_zoo.embedding.columns import COLUMNS, sha256
from cfamc_zoo.embedding.items import Item
from cfamc_zoo.embedding.known import Known, moved, stamp_of
from cfamc_zoo.embedding.outputs import BY, Output, files_of, is_there, roots_in
from cfamc_zoo.errors import DataError, UsageError

# What must be the same, by the name that a person knows; type and dimension must be, too.
SAME = {
    "sha256": "model",
    "feature": "feature",
    "backend": "backend",
    "scaling": "scaling",
    "preprocessing": "preprocessing",
}


def roots_of(inputs: Sequence[str]) -> tuple[str, ...]:
    """The folders that inputs lie in: those given, and those of given files and patterns."""
    roots: dict[str, None] = {}
    for text in inputs:
        if "://" in text or text == "-":
            continue
        path = Path(text)
        while glob.has_magic(str(path)) and not os.path.exists(path):  # noqa: PTH110
            path = path.parent
        roots[str(path if os.path.isdir(path) else path.parent)] = None  # noqa: PTH112
    return tuple(roots)


def with_columns(output: Output) -> Output:
    """The output with the columns that an update needs, and those that the older one has."""
    if output.existing != "update":
        return output
    wanted = [*output.columns]
    if is_there(output) and not wanted:
        wanted = [name for name in _schema_of(files_of(output)[0]).names if name in COLUMNS]
    wanted += [name for name in BY[output.by] if name not in wanted]
    return replace(output, columns=tuple(wanted))


def open_known(output: Output, schema: pa.Schema) -> Known | None:
    """The older output that an update takes rows from.

    Args:
        schema: of the new one.

    Raises:
        UsageError: it is of another model or settings, or lacks a column.
        DataError: it cannot be read.
    """
    if output.existing != "update" or not is_there(output):
        return None
    files = files_of(output)
    old = _schema_of(files[0])
    _check_same(output.path, old, schema)
    renamed = moved(roots_in(old.metadata), output.roots)
    return Known(files, BY[output.by], renamed)


def stamp(item: Item, by: str) -> str:
    """What tells that an image has not changed since its vector was made; "" if that is unknown."""
    if by == "mtime":
        return stamp_of((item.size, item.modified))
    try:
        return sha256(item) or ""
    except DataError:  # said when it is embedded
        return ""


def _schema_of(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{str(path)!r} is not Parquet that can be read; make it anew with --overwrite"
        ) from error


def _check_same(path: Path, old: pa.Schema, new: pa.Schema) -> None:
    """Refuses an update that would mix vectors of two kinds."""
    remedy = "give another -o, or --overwrite to make it anew"
    said = {key.decode(): value.decode() for key, value in (old.metadata or {}).items()}
    asked = {key.decode(): value.decode() for key, value in new.metadata.items()}
    if not {*SAME} <= {*said} or not {"path", "embedding"} <= {*old.names}:
        raise UsageError(f"{str(path)!r} does not say what made it; {remedy}")
    for key, name in SAME.items():
        if said[key] != asked[key]:
            was, now = (s["model"] if name == "model" else s[key] for s in (said, asked))
            raise UsageError(f"{str(path)!r} is of another {name}, {was}, not {now}; {remedy}")
    was, now = (schema.field("embedding").type for schema in (old, new))
    if was != now:
        raise UsageError(f"{str(path)!r} holds {_named(was)}, not {_named(now)}; {remedy}")
    missing = [name for name in new.names if name not in old.names]
    if missing:
        wanted = ",".join(name for name in new.names if name in COLUMNS)
        others = [by for by, names in BY.items() if {*names} <= {*old.names}]
        raise UsageError(
            f"{str(path)!r} lacks the columns that this needs ({', '.join(missing)}); "
            + "".join(f"give --by {by}, or " for by in others)
            + f"make it anew once with --overwrite --columns {wanted}"
        )


def _named(kind: pa.DataType) -> str:
    """As "512 values of float16"."""
    values = {pa.float16(): "float16", pa.float32(): "float32"}
    return f"{kind.list_size} values of {values.get(kind.value_type, kind.value_type)}"
