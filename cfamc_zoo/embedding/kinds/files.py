"""Files on this machine, by name: given one by one, or found in folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from cfamc_zoo.embedding.items import Images, Item, batches, printable
from cfamc_zoo.names import FileNames


class Files(Images):
    """Image files by name; each is looked at when its turn comes.

    Args:
        names: kept as they are, so that a million of them stay small.
        left_out: of the folder that they were found in.
    """

    def __init__(self, names: Sequence[str] | FileNames, left_out: Counter[str] | None = None):
        self.names = names
        self.left_out = left_out or Counter[str]()

    @property
    def total(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Item]:
        return map(file_item, self.names)

    def cut(self, start: int, stop: int) -> Files:
        return Files(list(islice(self.names, start, stop)), self.left_out)

    def pieces(self, size: int) -> Iterator[Files]:
        return map(Files, batches(self.names, size))


def file_item(name: str) -> Item:
    """A file that may not be there: then reading it says so."""
    size = modified = None
    try:
        found = os.stat(name)  # noqa: PTH116
        size, modified = found.st_size, found.st_mtime_ns
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        pass
    return Item(printable(name), partial(Path, name), size, modified)


class Once:
    """Which files have been named already, so that each comes once."""

    def __init__(self) -> None:
        self._named: dict[str, set[str]] = {}  # by folder
        self._folders: dict[str, FileNames] = {}  # all of whose files have come

    def is_new(self, name: str) -> bool:
        """Whether a file, or what else has a name, has not come yet; afterwards it has."""
        folder = os.path.dirname(name) or "."  # noqa: PTH120
        named = self._named.setdefault(folder, set())
        base = os.path.basename(name)  # noqa: PTH119
        new = base not in named and name not in self._folders.get(folder, ())
        named.add(base)
        return new

    def keep_new(self, names: FileNames) -> None:
        """Takes out of a folder's files those that have come; afterwards all have."""
        for folder in names.folders():
            if folder in self._folders:  # a folder's files are the same wherever reading began
                names.remove(folder)
            elif folder in self._named:
                names.remove(folder, self._named[folder])
        self._folders |= dict.fromkeys(names.folders(), names)
