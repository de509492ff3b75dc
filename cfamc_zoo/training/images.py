"""Training images of a named set or a folder, as an array that batches index.

A folder's images become one array on disk, once: a million of them need no memory, and the next
run of the same files starts at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.datasets import NAMED, SAMPLES, load_dataset
from cfamc_zoo.errors import DataError, StorageError, UsageError
from cfamc_zoo.folders import describe, find_below, find_parts, name_of
from cfamc_zoo.parquet import count_rows, find_parquet, iterate_encoded
from cfamc_zoo.progress import Progress, Say, silent
from cfamc_zoo.zoo.images.decoding import Source, read_images
from cfamc_zoo.zoo.images.preprocess import PREPROCESSING, fit_all
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.onnx.cache import cache_folder

RECORD = "data.json"  # of a run
PIXELS, INDEX = "pixels.bin", "index.json"  # of a folder in the cache
VERSION = "1"  # of that folder
NEW = ".new-"  # one that is being made
SHOWN = 5  # reasons that a line on unreadable images names


@dataclass(frozen=True)
class TrainingImages:
    """What a run learns from.

    Attributes:
        images: (N, S, S, 3) uint8, in memory or mapped from disk.
        name: of the set or the folder.
        digest: sha256 (hex) of a folder's pixels; empty for a named set.
    """

    images: np.ndarray
    name: str
    digest: str

    def record(self, run: Path) -> None:
        """Writes down in a run what it learns from."""
        with storage_errors(run / RECORD):
            (run / RECORD).write_text(json.dumps(self._facts()) + "\n", "utf-8")

    def check(self, run: Path) -> None:
        """Compares with what a run was started with, where that was written down.

        Raises:
            UsageError: these are others.
        """
        before = recorded(run)
        if before and before != self._facts():
            raise UsageError(
                f"{str(run)!r} was started with other images of {self.name!r}; put them back to "
                "resume, or start a new run"
            )

    def _facts(self) -> dict[str, Any]:
        digest = {"images_sha256": self.digest} if self.digest else {}
        return {"images": len(self.images), **digest}


def recorded(run: Path) -> dict[str, Any]:
    """What `TrainingImages.record` wrote; {} where it did not."""
    try:
        facts = json.loads((run / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def data_name(data: str) -> str:
    """What data is called in a recipe: a set's name, or a folder's own without the way to it."""
    if not _is_own(data):
        return data
    name = name_of(Path(data))
    # A folder that is called as a named set is none.
    return f"{name}/" if name in NAMED or name in SAMPLES else name


def _is_own(data: str) -> bool:
    """Whether data is a folder or a Parquet file, and no named set."""
    named = data in NAMED or data in SAMPLES
    return not named and (Path(data).is_dir() or bool(find_parquet(Path(data))))


def training_images(
    data: str,
    size: int,
    *,
    say: Say = lambda text: None,
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingImages:
    """Reads what a run learns from.

    Args:
        data: a named set, or a folder: all images below it, of which labels are not asked; of
            one with train/ and test/ those of train/. Or Parquet: a file, or a folder of them.
        size: to which each is brought, the shorter side resized and the centre cropped.
        say: told what was left out.
        progress: opens a bar of a description and a total.
        stop: asked after every file; True ends the reading.

    Raises:
        KeyboardInterrupt: `stop` ended it; nothing is kept.
        UnknownNameError: no such set, and no folder.
        DataError: no image that can be read.
        StorageError: the array cannot be kept in the cache.
    """
    preprocess = Preprocess(size=size)
    if not _is_own(data):
        return _of_set(data, preprocess, say)
    shards = find_parquet(Path(data))
    found = _of_parquet(shards, data, say) if shards else _of_folder(data, say)
    kept = _kept(found, preprocess, say, _Watch(f"reading {data_name(data)}", progress, stop))
    if kept.unreadable:
        say(_unreadable(kept.unreadable, found.count))
    return TrainingImages(kept.array, data_name(data), kept.digest)


@dataclass(frozen=True)
class _Found:
    """Images that are to be read: the files that hold them, how many, and one after the other."""

    files: Sequence[Path]
    count: int
    images: Callable[[], Iterable[Source]]


def _of_folder(data: str, say: Say) -> _Found:
    folder, parts = Path(data), find_parts(Path(data))
    if parts:
        say(f"note: trained on {parts[0].name}/ of {name_of(folder)}, not on {parts[1].name}/")
    found = find_below(parts[0] if parts else folder)
    if found.left_out:
        say(describe(found.left_out))
    if not found.paths:
        raise DataError(f"{data!r} holds no images; give a folder that does")
    return _Found(found.paths, len(found.paths), lambda: found.paths)


def _of_parquet(shards: Mapping[str, Sequence[Path]], data: str, say: Say) -> _Found:
    if "train" in shards:
        say(f"note: trained on the train files of {name_of(Path(data))}, not on the test files")
    files = shards.get("train") or shards[""]
    return _Found(files, count_rows(files), lambda: iterate_encoded(files))


def _of_set(name: str, preprocess: Preprocess, say: Say) -> TrainingImages:
    split: Any = "train"
    if name in SAMPLES:
        say(f"{name} holds test images: fine for trying things out, not for results")
        split = "test"
    images = load_dataset(name, split).images
    return TrainingImages(fit_all(images, preprocess), name, "")


@dataclass(frozen=True)
class _Watch:
    """Who watches the reading: a bar of this title, and what may end it."""

    title: str
    progress: Progress
    stop: Callable[[], bool]


@dataclass(frozen=True)
class _Kept:
    """An array in the cache, and which files of its folder it lacks."""

    array: np.ndarray
    digest: str
    unreadable: Counter[str]


def _kept(found: _Found, preprocess: Preprocess, say: Say, watch: _Watch) -> _Kept:
    root = cache_folder()
    if root is None:
        raise UsageError("no folder for caches is known; set CFAMC_ZOO_CACHE to one")
    place = root / "images" / _key(found.files, preprocess)
    known = _open(place, preprocess.size)
    if known is None and int(os.environ.get("LOCAL_RANK", 0)) > 0:
        # torchrun's first process on this machine makes it. Should it fail, all are ended.
        while (known := _open(place, preprocess.size)) is None:
            time.sleep(0.5)
    if known is not None:
        return known
    _make(place, found, preprocess, watch)
    made = _open(place, preprocess.size)
    if made is None:
        raise StorageError(f"{str(place)!r} was changed while it was made; start again")
    say(f"note: {len(made.array):,} images are kept in {place}, {made.array.nbytes / 1e6:,.0f} MB")
    return made


def _key(paths: Sequence[Path], preprocess: Preprocess) -> str:
    """Of the files by name, size and time, and of what is made of them."""
    key = hashlib.sha256(f"{VERSION} {PREPROCESSING}{json.dumps(preprocess.to_json())}".encode())
    for path in paths:
        try:
            found = path.stat()
            stamp = f"{found.st_size}\0{found.st_mtime_ns}"
        except OSError:
            stamp = "gone"
        key.update(f"{path.absolute()}\0{stamp}\0".encode())
    return key.hexdigest()[:32]


def _open(place: Path, size: int) -> _Kept | None:
    """What is kept there; None where nothing is, or something that is not whole."""
    try:
        index = json.loads((place / INDEX).read_text("utf-8"))
        shape = (int(index["images"]), size, size, 3)
        if (place / PIXELS).stat().st_size != np.prod(shape):
            return None
        array = np.memmap(place / PIXELS, np.uint8, "r", shape=shape)
        return _Kept(array, str(index["sha256"]), Counter(index["unreadable"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(place: Path, found: _Found, preprocess: Preprocess, watch: _Watch) -> None:
    """Reads all files once and keeps their pixels; the folder appears whole or not at all."""
    needed = found.count * preprocess.size**2 * 3
    with storage_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
        if needed > free:
            raise StorageError(
                f"{found.count:,} images take {needed / 1e9:,.1f} GB in {str(place.parent)!r}, "
                f"where {free / 1e9:,.1f} GB are free; set CFAMC_ZOO_CACHE to a larger disk"
            )
        new = Path(tempfile.mkdtemp(prefix=NEW, dir=place.parent))
    try:
        index = _write_pixels(new, found, preprocess, watch)
        with storage_errors(place):
            (new / INDEX).write_text(json.dumps(index), "utf-8")
            shutil.rmtree(place, ignore_errors=True)  # not whole, or it would have been opened
            new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write_pixels(
    folder: Path, found: _Found, preprocess: Preprocess, watch: _Watch
) -> dict[str, Any]:
    """Writes the file of pixels; gives its index."""
    unreadable: Counter[str] = Counter()
    digest = hashlib.sha256()
    with (
        storage_errors(folder / PIXELS),
        open(folder / PIXELS, "wb") as file,
        watch.progress(watch.title, found.count) as bar,
    ):
        for _, image in read_images(found.images(), preprocess):
            if watch.stop():
                raise KeyboardInterrupt
            if isinstance(image, DataError):
                # Numbers, as of bytes that are missing, would make each reason its own.
                unreadable[re.sub(r"\d+", "...", str(image))] += 1
            else:
                pixels = image.tobytes()
                digest.update(pixels)
                file.write(pixels)
            bar.advance(1)
    count = found.count - unreadable.total()
    if not count:
        raise DataError(
            f"no image can be trained on; {_unreadable(unreadable, found.count)}: give a folder "
            "with images that open"
        )
    return {"images": count, "sha256": digest.hexdigest(), "unreadable": unreadable}


def _unreadable(reasons: Counter[str], total: int) -> str:
    named = reasons.most_common(SHOWN)
    rest = reasons.total() - sum(n for _, n in named)
    parts = [f"{n:,} {reason}" for reason, n in named]
    parts += [f"{rest:,} for other reasons"] if rest else []
    return f"unreadable, left out: {reasons.total():,} of {total:,} images ({'; '.join(parts)})"
