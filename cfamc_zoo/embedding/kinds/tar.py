"""Tar shards, as WebDataset writes them: members in their order, nothing is unpacked to disk.

A plain tar on this machine is gone through by its headers, and an image is read at its place
when its turn comes. A compressed or a distant one can only be read from its start: there the
items hold their content.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from cfamc_zoo.embedding.items import (
    CONTENT_LIMIT,
    Failed,
    Held,
    Images,
    Item,
    failed,
    nanoseconds,
)
from cfamc_zoo.embedding.kinds.members import LINK, is_image, name_of
from cfamc_zoo.embedding.kinds.remote import data_errors, is_url, open_place
from cfamc_zoo.errors import DataError
from cfamc_zoo.folders import SPECIAL

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
COMPRESSED: dict[bytes, Callable[[Any], Any]] = {  # how they begin, whatever their suffix is
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
REST = "damaged or cut ({}); images after that are not read"
DAMAGE = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


class TarImages(Images):
    """Images of a tar file, wherever it lies."""

    total = None  # a tar has no list of what it holds

    def __init__(self, place: str):
        self.place = place
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Item]:
        self.left_out.clear()
        try:
            with (
                data_errors(self.place, DAMAGE, REST),
                open_place(self.place) as raw,
                BufferedReader(raw) as file,
            ):
                yield from self._items(file)
        except DataError as error:
            yield failed(self.place, str(error))

    def pieces(self, size: int) -> Iterator[Images]:
        """One that has to be read in order stays whole: whoever goes through it opens it."""
        return iter([self]) if self._must_be_read_in_order() else super().pieces(size)

    def _must_be_read_in_order(self) -> bool:
        if is_url(self.place):
            return True
        with suppress(OSError), open(self.place, "rb") as file:
            return file.read(8).startswith(tuple(COMPRESSED))
        return False

    def _items(self, file: BufferedReader) -> Iterator[Item]:
        start = file.peek(8)
        unpack = next((COMPRESSED[s] for s in COMPRESSED if start.startswith(s)), None)
        in_order = is_url(self.place) or unpack is not None
        source: Any = _InOrder(unpack(file) if unpack else file) if in_order else file
        with tarfile.open(fileobj=source, mode="r|" if in_order else "r:", tarinfo=_Header) as tar:
            headers: list[Any] = tar.members  # type: ignore[attr-defined]
            while (member := tar.next()) is not None:
                headers.clear()  # tarfile keeps all that it has read
                if self._is_image(member):
                    content = self._held(tar, member) if in_order else self._at(member)
                    modified = nanoseconds(member.mtime)
                    yield Item(name_of(self.place, member.name), content, member.size, modified)

    def _is_image(self, member: tarfile.TarInfo) -> bool:
        if member.isdir() or not is_image(member.name, self.left_out):
            return False
        if not member.isfile():
            self.left_out[LINK if member.issym() or member.islnk() else SPECIAL] += 1
        return member.isfile()

    def _at(self, member: tarfile.TarInfo) -> Piece | Failed:
        return _refused(member) or Piece(self.place, member.offset_data, member.size)

    def _held(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Held | Failed:
        refused = _refused(member)
        file = None if refused else tar.extractfile(member)
        return refused or Held(file.read() if file else b"")


@dataclass(frozen=True)
class Piece:
    """Bytes of a file from a place on."""

    file: str
    offset: int
    size: int

    def __call__(self) -> bytes:
        with data_errors(self.file, (OSError,)), open(self.file, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise DataError(f"the archive ends after {len(data)} of {self.size} bytes")
        return data


class _InOrder:
    """A stream for tarfile, which goes on reading past the end for a member that says so."""

    def __init__(self, file: Any):
        self._file, self._ended = file, False

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        if self._ended:
            raise EOFError("a member is longer than what is there")
        self._ended = not data
        return data


INVALID: Any = tarfile.InvalidHeaderError  # type: ignore[attr-defined]


class _Header(tarfile.TarInfo):
    """A header; tarfile takes one that is damaged, but for the first, for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        try:
            return super().fromtarfile(archive)
        except INVALID as error:
            raise tarfile.ReadError(f"no header at byte {archive.offset}") from error


def _refused(member: tarfile.TarInfo) -> Failed | None:
    if member.size > CONTENT_LIMIT:
        return Failed(f"{member.size} bytes; an image in an archive may have {CONTENT_LIMIT}")
    return Failed("stored with holes; pack it without --sparse") if member.issparse() else None
