"""Which images a folder holds: the one rule by which every command reads folders.

Hidden names and what desktops leave behind are passed over without a word. Links to folders are
followed, and no folder is read twice. The first level is the classes, and everything below a
class folder belongs to it. Whatever else is left out is counted by its reason.
"""

from __future__ import annotations

import importlib
import os
import stat
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cfamc_zoo.errors import DataError
from cfamc_zoo.names import FileNames, join

DROPPINGS = frozenset(  # in lower case; hidden names are passed over whatever they are
    (
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin"),
        *("system volume information", "__macosx", "icon\r", "@eadir", "#recycle", "lost+found"),
        *("__pycache__",),
    )
)
# Formats that Pillow knows by name but cannot decode by itself: EPS takes a program of its own,
# and the others are stubs.
UNDECODED = frozenset(("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))
CODECS = {"AVIF": "avif", "JPEG": "jpg", "JPEG2000": "jpg_2000", "PNG": "zlib", "WEBP": "webp"}
PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}
SHOWN = 6  # suffixes that a line on what was left out names

# Reasons, as a number stands before them.
NO_CLASS = "without a class folder"
NO_SUFFIX = "without a suffix"
NO_IMAGES = "class folder{s} without images"
BROKEN = "broken link{s}"
SPECIAL = "pipe{s}, socket{s} or device{s}"
CLOSED_FILE = "file{s} that cannot be reached"
CLOSED = "folder{s} that cannot be read"
AGAIN = "link{s} to a folder that is read already"
UNDECODABLE = "name{s} in no known encoding"
PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "validation", "valid")}


@dataclass(frozen=True)
class Found:
    """Image files, and what was left out.

    Attributes:
        paths: sorted, so that every reading of the same folder gives the same order.
        groups: of each, the name of the first folder on the way to it; "" if it lies loose.
        left_out: reasons, and how often each was met.
    """

    paths: list[Path]
    groups: list[str]
    left_out: Counter[str]


@dataclass(frozen=True)
class Listing:
    """Names of image files, and what was left out.

    Attributes:
        names: sorted, so that every reading of the same folder gives the same order.
        left_out: reasons, and how often each was met.
    """

    names: FileNames
    left_out: Counter[str]


@dataclass(frozen=True)
class Labelled:
    """Image files of a folder with their classes.

    Attributes:
        name: of the folder.
        paths: class by class, each sorted.
        labels: indices into `classes`; all 0 where there are none.
        classes: names of the class folders that hold images; empty if the images lie loose.
        left_out: reasons, and how often each was met.
    """

    name: str
    paths: list[Path]
    labels: list[int]
    classes: tuple[str, ...]
    left_out: Counter[str]


@cache
def image_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the formats that Pillow can decode here, plug-ins included."""
    from PIL import Image, features

    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    with suppress(ImportError):
        importlib.import_module("pillow_jxl")
    Image.init()
    known = {*features.modules, *features.codecs, *features.features}

    def decodes(name: str) -> bool:
        codec = CODECS.get(name)
        return codec not in known or bool(features.check(codec))

    usable = {name for name in Image.OPEN if name not in UNDECODED and decodes(name)}
    suffixes = {s.lower() for s, name in Image.registered_extensions().items() if name in usable}
    return frozenset(suffixes | ({".mpo"} if "JPEG" in usable else set()))  # frames of JPEG


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or what a desktop leaves behind."""
    return name.startswith(".") or name.lower() in DROPPINGS


def suffix_of(name: str) -> str:
    """The last suffix, in lower case; "" without one."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def is_text(name: str) -> bool:
    """Whether a name can be written down: on Linux it is bytes, in any encoding or none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def name_of(folder: Path) -> str:
    """What a folder is called, whichever way it was given."""
    name = folder.resolve().name or "root"
    return "".join(c if c.isprintable() else "?" for c in name)


def list_below(folder: Path) -> Listing:
    """All images below a folder, a million of them in some 30 MB."""
    walk = _Walk()
    walk.all_below(str(folder))
    return Listing(walk.names, walk.left_out)


def find_below(folder: Path) -> Found:
    """All images below a folder, with their groups."""
    listing = list_below(folder)
    paths = [Path(name) for name in listing.names]
    depth = len(folder.parts)
    groups = [path.parts[depth] if len(path.parts) > depth + 1 else "" for path in paths]
    return Found(paths, groups, listing.left_out)


def find_labelled(folder: Path) -> Labelled:
    """The images of a folder of class folders; without any, its own, which have no labels.

    Raises:
        DataError: no images.
    """
    found = find_below(folder)
    classes = tuple(sorted({group for group in found.groups if group}))
    left_out = found.left_out
    rows = list(zip(found.paths, found.groups, strict=True))
    if classes:
        loose = sum(not group for _, group in rows)
        left_out = left_out + Counter({NO_CLASS: loose} if loose else {})
        rows = [row for row in rows if row[1]]
        empty = len(_folders_in(folder) - set(classes))
        left_out += Counter({NO_IMAGES: empty} if empty else {})
    if not rows:
        raise DataError(
            f"{str(folder)!r} holds no images{_because(left_out)}; give a folder of class "
            "folders, or of images"
        )
    number = {name: i for i, name in enumerate(classes)}
    rows.sort(key=lambda row: number.get(row[1], 0))  # stable: in a class the order stays
    labels = [number.get(group, 0) for _, group in rows]
    return Labelled(name_of(folder), [path for path, _ in rows], labels, classes, left_out)


def find_parts(folder: Path) -> tuple[Path, Path] | None:
    """A folder's train/ and test/ (or val/, validation/), whatever their case; None without."""
    there = {name.lower(): name for name in sorted(_folders_in(folder), reverse=True)}
    parts = [
        next((folder / there[name] for name in names if name in there), None)
        for names in PARTS.values()
    ]
    train, test = parts
    return (train, test) if train and test else None


def describe(left_out: Counter[str]) -> str:
    """One line: "left out: 3 .heic, 2 without a class folder"; empty if nothing was."""
    suffixes = Counter({r: n for r, n in left_out.items() if r.startswith(".")})
    named = suffixes.most_common(SHOWN)
    rest = suffixes.total() - sum(n for _, n in named)
    lines = [f"{n:,} {suffix}{_plugin(suffix)}" for suffix, n in named]
    lines += [f"{rest:,} of other suffixes"] if rest else []
    lines += [
        f"{n:,} {reason.replace('{s}', '' if n == 1 else 's')}"
        for reason, n in sorted(left_out.items())
        if not reason.startswith(".")
    ]
    return f"left out: {', '.join(lines)}" if lines else ""


def merged(counts: Iterable[Counter[str]]) -> Counter[str]:
    """What several readings left out, together."""
    return sum(counts, Counter())


def _because(left_out: Counter[str]) -> str:
    return f" ({describe(left_out)})" if left_out else ""


def _plugin(suffix: str) -> str:
    package = PLUGINS.get(suffix)
    return f" (`pip install {package}` makes them readable)" if package else ""


def _folders_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {e.name for e in entries if not is_passed_over(e.name) and os.path.isdir(e)}  # noqa: PTH112
    except OSError:
        return set()


class _Walk:
    """One reading of a folder.

    Links are followed when everything that is not behind one has been read: so a folder counts
    where it is, not where something points to it.
    """

    def __init__(self) -> None:
        self.names = FileNames()
        self.left_out: Counter[str] = Counter()
        self.seen: set[tuple[int, int] | str] = set()
        self.links: deque[str] = deque()

    def all_below(self, start: str) -> None:
        self._tree(start)
        while self.links:
            path = self.links.popleft()
            if self._identity(path) in self.seen:
                self.left_out[AGAIN] += 1
            else:
                self._tree(path)

    def _tree(self, start: str) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            identity = self._identity(folder)
            if identity in self.seen:  # by a link that was followed, or one disk mounted twice
                continue
            self.seen.add(identity)
            found = _Entries([], [], [])
            try:
                with os.scandir(folder) as scanned:
                    for entry in scanned:
                        if not is_passed_over(entry.name):
                            self._entry(entry, found)
            except OSError:  # what was read before a disk failed, or a folder went, is kept
                self.left_out[CLOSED] += 1
            self.names.add(folder, found.images)
            waiting += [join(folder, name) for name in sorted(found.folders)]
            self.links += [join(folder, name) for name in sorted(found.links)]

    def _entry(self, entry: os.DirEntry[str], found: _Entries) -> None:
        """Takes or counts one entry."""
        if not is_text(entry.name):
            self.left_out[UNDECODABLE] += 1
            return
        try:
            mode = os.stat(entry.path).st_mode  # noqa: PTH116
        except OSError:
            self.left_out[BROKEN if entry.is_symlink() else CLOSED_FILE] += 1
            return
        if stat.S_ISDIR(mode):
            (found.links if entry.is_symlink() else found.folders).append(entry.name)
        elif not stat.S_ISREG(mode):
            self.left_out[SPECIAL] += 1
        elif (suffix := suffix_of(entry.name)) in image_suffixes():
            found.images.append(entry.name)
        else:
            self.left_out[suffix or NO_SUFFIX] += 1

    def _identity(self, folder: str) -> tuple[int, int] | str:
        try:
            found = os.stat(folder)  # noqa: PTH116
        except OSError:
            return folder
        # Some file systems number nothing: there the name without links tells folders apart.
        return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(folder)


@dataclass(frozen=True)
class _Entries:
    """Names of what one folder holds."""

    images: list[str]
    folders: list[str]
    links: list[str]  # to folders
