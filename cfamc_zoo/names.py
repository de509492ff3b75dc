"""Names of a million files in little memory: packed by folder, given out sorted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache

END = "\0"  # ends a name, and stands in no name


class FileNames:
    """Paths of files, sorted part by part as `sorted(paths, key=lambda path: path.parts)` does.

    A folder's names are one string: a name takes its own bytes and one more.
    """

    def __init__(self) -> None:
        self._packed: dict[str, str] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return name in _unpacked(self._packed.get(folder or ".", ""))

    def __iter__(self) -> Iterator[str]:
        open_folders: list[tuple[str, Iterator[str], str]] = []  # those on the way, names to come
        for folder in sorted(self._packed, key=_prefix):
            while open_folders:
                above, names, name = open_folders.pop()
                inside = _prefix(folder).startswith(_prefix(above))
                while name and not (inside and _prefix(above) + name > _prefix(folder)):
                    yield join(above, name)
                    name = next(names, "")
                if inside:
                    open_folders.append((above, names, name))
                    break
            names = iter(self._names(folder))
            open_folders.append((folder, names, next(names, "")))
        while open_folders:
            folder, names, name = open_folders.pop()
            while name:
                yield join(folder, name)
                name = next(names, "")

    def folders(self) -> list[str]:
        """Folders that hold a name themselves."""
        return list(self._packed)

    def add(self, folder: str, names: Sequence[str]) -> None:
        """Adds all names of a folder at once, which is not there yet."""
        if names:
            once = sorted(set(names))  # a folder that changes may tell a name twice
            self._packed[folder] = END.join(once)
            self._count += len(once)

    def remove(self, folder: str, names: Set[str] | None = None) -> None:
        """Forgets some of a folder's own names, or all of them; those below it stay."""
        present = self._names(folder)
        del self._packed[folder]
        self._count -= len(present)
        self.add(folder, [] if names is None else [n for n in present if n not in names])

    def _names(self, folder: str) -> list[str]:
        return self._packed[folder].split(END)


def join(folder: str, name: str) -> str:
    """The path as pathlib writes it: without "./"."""
    return name if folder == "." else os.path.join(folder, name)  # noqa: PTH118


@lru_cache(maxsize=1)
def _unpacked(packed: str) -> frozenset[str]:
    return frozenset(packed.split(END)) if packed else frozenset()


def _prefix(folder: str) -> str:
    """What keys of all paths below a folder begin with: by them parts are compared one by one."""
    return "" if folder == "." else folder.rstrip(os.sep).replace(os.sep, END) + END
