"""What to embed: files, folders, patterns, archives, addresses and lists, as a stream of items."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from os import PathLike
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from cfamc_zoo.embedding.items import Images, Item
from cfamc_zoo.embedding.kinds import listed, remote, tar
from cfamc_zoo.embedding.kinds.files import Files, Once
from cfamc_zoo.embedding.kinds.listed import Listed
from cfamc_zoo.embedding.kinds.members import first_suffix
from cfamc_zoo.embedding.kinds.parquet import ParquetImages
from cfamc_zoo.embedding.kinds.zip import ZipImages
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.folders import (
    DROPPINGS,
    UNDECODABLE,
    describe,
    image_suffixes,
    is_text,
    list_below,
    merged,
)

STDIN = "-"
# Files that hold many images, by suffix, here or behind an address.
CONTAINERS: dict[str, Callable[[str], Images]] = {
    ".parquet": ParquetImages,
    ".zip": ZipImages,
    **dict.fromkeys(tar.SUFFIXES, tar.TarImages),
}


@dataclass(frozen=True)
class Inputs:
    """All images of some inputs, in their order.

    Attributes:
        given: the inputs' texts, for messages.
        parts: what they name.
    """

    given: tuple[str, ...]
    parts: tuple[Images, ...]

    @property
    def total(self) -> int | None:
        """Items, where that is known before they are gone through."""
        totals = [part.total for part in self.parts]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def left_out(self) -> Counter[str]:
        """What was met so far and is no image, by its reason."""
        return merged(part.left_out for part in self.parts)

    def note_left_out(self, met: Counter[str]) -> None:
        """Adds what others met that went through some of the parts."""
        if self.parts:
            self.parts[0].left_out.update(met)

    def __iter__(self) -> Iterator[Item]:
        """The items; standard input gives its own once.

        Raises:
            DataError: at the end, if there was none.
        """
        nothing = True
        for part in self.parts:
            for item in part:
                nothing = False
                yield item
        if nothing:
            raise self.without_images()

    def without_images(self) -> DataError:
        """What to raise where there are none."""
        if self.given == (STDIN,) and not self.left_out:
            return DataError("standard input names no images; give one path or address a line")
        said = f" ({describe(self.left_out)})" if self.left_out else ""
        remedy = "give image files, or folders that hold some"
        if any(suffix in self.left_out for suffix in CONTAINERS):
            remedy += "; archives and Parquet files by name or pattern"
        return DataError(f"no images in {', '.join(map(repr, self.given))}{said}; {remedy}")


def open_inputs(
    inputs: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    separator: bytes = listed.LINE,
    stdin: BufferedIOBase | None = None,
) -> Inputs:
    """The images that the inputs name, as a stream.

    A file is taken whatever its suffix, but for those that hold many images: Parquet with a column
    of images, tar and zip. A folder is taken for all images below it by the rule of
    `cfamc_zoo.folders`, a pattern (`*`, `?`, `[]`, `**`) for what it matches, an address
    (`https://`, `s3://`, `gs://`, `hf://`, ...) for a file, a folder or a pattern of its own, and
    `-` for what a list on standard input names. An existing path is never read as a pattern. Each
    file comes once, but from lists; the order is by input, then by name, in archives their own.

    Args:
        inputs: one or several.
        separator: of the list: `listed.LINE` or `listed.NULL`.
        stdin: where the list comes from; None is the process's own standard input.

    Raises:
        UsageError: a path that does not exist or cannot be written down, a pattern that
            matches nothing, an address whose package is missing.
        DataError: no images at all, where that is known at once.
    """
    given = [inputs] if isinstance(inputs, str | PathLike) else inputs
    texts = tuple(os.fspath(text) for text in given)
    image_suffixes()  # also makes the plug-ins known by which named files are read
    gathered = _Gathered()
    for text in texts:
        if text == STDIN:
            if gathered.once.is_new(STDIN):
                gathered.parts.append(Listed(stdin or _standard_input(), separator, _in_list))
        elif not is_text(text):
            raise UsageError(
                f"input {text!r} has a name in no known encoding, which no output can hold; "
                "rename it"
            )
        else:
            gathered.add(_local(text))
    found = Inputs(texts, tuple(gathered.parts))
    if found.total == 0:
        raise found.without_images()
    return found


def _standard_input() -> BufferedIOBase:
    # None where the process was started without one.
    return cast("BufferedIOBase", sys.stdin.buffer) if sys.stdin else BytesIO()


class _Gathered:
    """What inputs name, with files that follow each other in one part."""

    def __init__(self) -> None:
        self.parts: list[Images] = []
        self.once = Once()
        self._names: list[str] = []  # of the last part, where that is of single files
        self._run = Files(self._names)

    def add(self, text: str) -> None:
        # os.path, since pathlib's own raise on names that are too long.
        if remote.is_url(text):
            self._extend(text, lambda: _behind(text))
        elif os.path.isdir(text):  # noqa: PTH112
            self._folder(Path(text))
        elif os.path.exists(text):  # noqa: PTH110
            self._file(text)
        elif glob.has_magic(text):
            self._matches(text)
        else:
            raise UsageError(f"input {text!r} does not exist; give files, folders or patterns")

    def _file(self, text: str) -> None:
        name = str(Path(text))
        suffix = first_suffix(name, CONTAINERS)
        if suffix:
            self._extend(name, lambda: [CONTAINERS[suffix](name)])
        elif self.once.is_new(name):
            if not (self.parts and self.parts[-1] is self._run):
                self._names = []
                self._run = Files(self._names)
                self.parts.append(self._run)
            self._names.append(name)

    def _extend(self, name: str, parts: Callable[[], Iterable[Images]]) -> None:
        if self.once.is_new(name):
            self.parts += parts()

    def _folder(self, folder: Path) -> None:
        below = list_below(folder)
        self.once.keep_new(below.names)
        self.parts.append(Files(below.names, below.left_out))

    def _matches(self, pattern: str) -> None:
        matched = sorted(glob.glob(pattern, recursive=True))
        if not matched:
            raise UsageError(f"pattern {pattern!r} matches nothing; quote it and check the folder")
        asked_for, folders = set(Path(pattern).parts), set[Path]()
        for match in matched:
            path = Path(match)
            # `**` matches a folder and then what is in it, which the folder has brought already.
            if not folders.isdisjoint(path.parents):
                continue
            # glob itself leaves hidden names out, but where the pattern asks for them.
            if any(part.lower() in DROPPINGS for part in {*path.parts} - asked_for):
                continue
            if not is_text(match):
                self.parts.append(Files([], Counter({UNDECODABLE: 1})))
            elif path.is_dir():
                folders.add(path)
                self._folder(path)
            else:
                self._file(match)


def _local(text: str) -> str:
    """A file:// address as the path that it stands for."""
    local = remote.is_url(text) and remote.protocol_of(text) == "file"
    return url2pathname(urlsplit(text).path) if local else text


def _behind(url: str) -> list[Images]:
    """What an address stands for.

    Raises:
        UsageError, DataError: as `remote.file_system`, `remote.matches` and `remote.is_folder`.
    """
    remote.file_system(remote.protocol_of(url))
    urls = remote.matches(url) if remote.is_pattern(url) else [url]
    return [_one_behind(one, remote.is_folder) for one in urls]


def _one_behind(url: str, is_folder: Callable[[str], bool]) -> Images:
    suffix = first_suffix(remote.path_in(url), CONTAINERS)
    if suffix:
        return CONTAINERS[suffix](url)
    return remote.AddressFolder(url) if is_folder(url) else remote.Addresses([url])


def _in_list(text: str) -> Images:
    """What a line of a list stands for: never a pattern, and what is not there fails by itself.

    Raises:
        DataError: it cannot be written down.
    """
    if not is_text(text):
        raise DataError("a name in no known encoding; rename it")
    text = _local(text)
    if remote.is_url(text):  # no server is asked line by line what an address is
        return _one_behind(text, lambda url: url.endswith("/"))
    name, suffix = str(Path(text)), first_suffix(text, CONTAINERS)
    if os.path.isdir(name):  # noqa: PTH112
        below = list_below(Path(name))
        return Files(below.names, below.left_out)
    return CONTAINERS[suffix](name) if suffix else Files([name])
