"""Zip files: their directory says what they hold, and each image is read when its turn comes."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cfamc_zoo.embedding.items import CONTENT_LIMIT, Failed, Images, Item, failed
from cfamc_zoo.embedding.kinds.members import LINK, is_image, name_of
from cfamc_zoo.embedding.kinds.remote import Stamp, data_errors, is_url, open_place, stamp_of
from cfamc_zoo.errors import DataError

ENCRYPTED = 1  # bit of a member's flags
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError),  # a way to pack that zipfile does not know; encryption
)


class ZipImages(Images):
    """Images of a zip file, wherever it lies."""

    def __init__(self, place: str):
        self.place = place
        self.left_out: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return len(self._numbers) if isinstance(self._numbers, list) else 1

    def __iter__(self) -> Iterator[Item]:
        if isinstance(self._numbers, Failed):
            yield failed(self.place, self._numbers.reason)
            return
        modified = stamp_of(self.place).modified
        members = _archive(self.place, stamp_of(self.place)).infolist()
        for number in self._numbers:
            member = members[number]
            name = name_of(self.place, member.filename)
            content = Member(self.place, number, member.filename)
            yield Item(name, content, member.file_size, modified)

    @cached_property
    def _numbers(self) -> list[int] | Failed:
        """Which members are images."""
        try:
            members = _archive(self.place, stamp_of(self.place)).infolist()
        except DataError as error:
            return Failed(str(error))
        return [i for i, member in enumerate(members) if self._is_image(member)]

    def _is_image(self, member: zipfile.ZipInfo) -> bool:
        if member.is_dir() or not is_image(member.filename, self.left_out):
            return False
        link = stat.S_ISLNK(member.external_attr >> 16)
        self.left_out += Counter({LINK: int(link)})
        return not link


@dataclass(frozen=True)
class Member:
    """One file of an archive, by its number: names may come twice."""

    place: str
    number: int
    name: str

    def __call__(self) -> bytes:
        archive = _archive(self.place, stamp_of(self.place))
        members = archive.infolist()
        if self.number >= len(members) or members[self.number].filename != self.name:
            raise DataError("the archive has changed since it was listed; start again")
        member = members[self.number]
        if member.flag_bits & ENCRYPTED:
            raise DataError("encrypted; unpack the archive with its password")
        if member.file_size > CONTENT_LIMIT:
            raise DataError(
                f"{member.file_size} bytes; an image in an archive may have {CONTENT_LIMIT}"
            )
        said = "damaged in the archive: {}"
        with data_errors(self.place, DAMAGE, said), archive.open(member) as file:
            return file.read()


@lru_cache(maxsize=4)
def _archive(place: str, stamp: Stamp) -> zipfile.ZipFile:
    """Kept open: reading the directory again for each image would take longer than the image."""
    with data_errors(place, DAMAGE, "no zip file that can be read: {}"):
        return zipfile.ZipFile(open_place(place) if is_url(place) else place)
