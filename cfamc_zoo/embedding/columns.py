"""What an output says of an image beside its path and vector, on request."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from cfamc_zoo.embedding.items import Held, Item
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.images.preprocess import DAMAGE


@dataclass(frozen=True)
class Column:
    """A column's type, and what it says.

    Attributes:
        of_item: where it is known before the image is read; None in it where it is not.
        of_content: what the file's bytes say.
    """

    kind: pa.DataType
    of_item: Callable[[Item], Any] = lambda item: None
    of_content: Callable[[bytes], Any] | None = None


def _dimensions(content: bytes) -> tuple[int | None, int | None]:
    """Width and height in pixels as stored, before the orientation that a camera notes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                return image.size
    except (OSError, Image.DecompressionBombError, *DAMAGE):
        return None, None  # whoever reads the pixels says why


COLUMNS: dict[str, Column] = {
    "width": Column(pa.int32(), of_content=lambda content: _dimensions(content)[0]),
    "height": Column(pa.int32(), of_content=lambda content: _dimensions(content)[1]),
    "sha256": Column(pa.string(), of_content=lambda content: hashlib.sha256(content).hexdigest()),
    "size": Column(pa.int64(), lambda item: item.size, len),  # bytes
    "mtime": Column(pa.int64(), lambda item: item.modified),  # nanoseconds since 1970
}


def parse_columns(text: str) -> tuple[str, ...]:
    """Names with commas between them, each once.

    Raises:
        UsageError: an empty name.
        UnknownNameError: not one of `COLUMNS`.
    """
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    if "" in names:
        raise UsageError(f"columns {text!r} hold an empty name; give names as width,height")
    for name in names:
        if name not in COLUMNS:
            raise UnknownNameError("column", name, COLUMNS)
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Watched:
    """An item's content that notes what columns say of it when it is read, so that it is read once.

    Attributes:
        seen: the columns' values; filled in the thread that reads.
    """

    content: Callable[[], Path | bytes]
    names: Sequence[str]
    seen: dict[str, Any]

    def __call__(self) -> Path | bytes:
        content = read(self.content())
        if isinstance(content, bytes):
            self.seen.update((name, _of_content(name)(content)) for name in self.names)
        return content


def watch(item: Item, names: Sequence[str]) -> tuple[Item, dict[str, Any]]:
    """The item, and what columns say of it: some at once, the rest when its content is read."""
    seen = {name: COLUMNS[name].of_item(item) for name in names}
    open_ones = [name for name in names if seen[name] is None and COLUMNS[name].of_content]
    if not open_ones:
        return item, seen
    if isinstance(item.content, Held):  # in memory, which the pipeline counts by what it is
        seen.update((name, _of_content(name)(item.content.data)) for name in open_ones)
        return item, seen
    return replace(item, content=Watched(item.content, open_ones, seen)), seen


def sha256(item: Item) -> str | None:
    """Of an item's content; None of what is no file.

    Raises:
        DataError: it cannot be read.
    """
    content = read(item.content())
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else None


def read(content: Path | bytes) -> Path | bytes:
    """A file's bytes; the path again of what cannot be read, as a pipe, which would block."""
    if isinstance(content, bytes):
        return content
    try:
        return content.read_bytes() if stat.S_ISREG(os.stat(content).st_mode) else content  # noqa: PTH116
    except OSError:
        return content


def _of_content(name: str) -> Callable[[bytes], Any]:
    found = COLUMNS[name].of_content
    assert found is not None
    return found
