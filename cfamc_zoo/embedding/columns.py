"""What an output says of an image beside its path and vector, on request."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from cfamc_zoo.embedding.items import Held, Item
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.images.preprocess import DAMAGE, LARGE

Opened = io.BytesIO | io.BufferedReader


@dataclass(frozen=True)
class Column:
    """A column's type, and what it says.

    Attributes:
        of_item: where it is known before the image is read; None in it where it is not.
        of_content: what the file says, read in pieces: it may be of any size.
    """

    kind: pa.DataType
    of_item: Callable[[Item], Any] = lambda item: None
    of_content: Callable[[Opened], Any] | None = None


def _dimensions(file: Opened) -> tuple[int | None, int | None]:
    """Width and height in pixels as stored, before the orientation that a camera notes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                return image.size
    except (OSError, Image.DecompressionBombError, *DAMAGE):
        return None, None  # whoever reads the pixels says why


def _bytes(file: Opened) -> int:
    return file.seek(0, os.SEEK_END)


def _digest(file: Opened) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


COLUMNS: dict[str, Column] = {
    "width": Column(pa.int32(), of_content=lambda file: _dimensions(file)[0]),
    "height": Column(pa.int32(), of_content=lambda file: _dimensions(file)[1]),
    "sha256": Column(pa.string(), of_content=_digest),
    "size": Column(pa.int64(), lambda item: item.size, _bytes),
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
        content = _once(self.content())
        self.seen.update(_said(content, self.names))
        return content


def watch(item: Item, names: Sequence[str]) -> tuple[Item, dict[str, Any]]:
    """The item, and what columns say of it: some at once, the rest when its content is read."""
    seen = {name: COLUMNS[name].of_item(item) for name in names}
    open_ones = [name for name in names if seen[name] is None and COLUMNS[name].of_content]
    if not open_ones:
        return item, seen
    if isinstance(item.content, Held):  # in memory, which the pipeline counts by what it is
        seen.update(_said(item.content.data, open_ones))
        return item, seen
    return replace(item, content=Watched(item.content, open_ones, seen)), seen


def sha256(item: Item) -> str | None:
    """Of an item's content; None of what is no file.

    Raises:
        DataError: it cannot be read.
    """
    return _said(item.content(), ["sha256"]).get("sha256")


def _said(content: Path | bytes, names: Sequence[str]) -> dict[str, Any]:
    """What columns say of a file or its bytes; nothing of what cannot be read."""
    said: dict[str, Any] = {}
    with suppress(OSError), _opened(content) as file:
        for name in names:
            of_content = COLUMNS[name].of_content
            assert of_content is not None
            file.seek(0)
            said[name] = of_content(file)
    return said


def _opened(content: Path | bytes) -> Opened:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    if not stat.S_ISREG(content.stat().st_mode):  # a pipe would block
        raise OSError(errno.EINVAL, "not a regular file")
    return content.open("rb")


def _once(content: Path | bytes) -> Path | bytes:
    """A file's bytes, so that it is read once; its path where it is large or cannot be read."""
    if isinstance(content, bytes):
        return content
    try:
        status = content.stat()
        small = stat.S_ISREG(status.st_mode) and status.st_size <= LARGE
        return content.read_bytes() if small else content
    except OSError:
        return content
