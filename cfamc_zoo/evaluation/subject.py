"""The images that a head is fitted to or a model is measured on: named sets, folders, Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cfamc_zoo.datasets import NAMED, SAMPLES, LabelledImages, Part, decode, find_dataset
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.evaluation.sampling import HELD_OUT, fair_sample, hold_out
from cfamc_zoo.folders import Labelled, describe, find_labelled, find_parts, name_of
from cfamc_zoo.parquet import find_parquet, read_encoded
from cfamc_zoo.progress import Say
from cfamc_zoo.zoo.images.decoding import read_images
from cfamc_zoo.zoo.images.preprocess import fit_all
from cfamc_zoo.zoo.network.head import Split
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.folder import PROBE, Release
from cfamc_zoo.zoo.release.probe_file import read_split


@dataclass(frozen=True)
class Rows:
    """Labelled images that are read once it is known which of them are wanted.

    Attributes:
        name: of the data.
        labels: (N,) int64, indices into `classes`.
        classes: names; empty where there are no labels.
        digest: of what tells the rows apart: equal for the same files with the same labels.
        read: (M,) indices to (M, S, S, 3) uint8.
        kind: "named", or "own" for a person's folder or Parquet.
    """

    name: str
    labels: np.ndarray
    classes: tuple[str, ...]
    digest: str
    read: Callable[[np.ndarray], np.ndarray]
    kind: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: np.ndarray, rows: str) -> LabelledImages:
        """These rows; `rows` says in words which they are."""
        images = self.read(chosen)
        return LabelledImages(images, self.labels[chosen], self.classes, self.name, rows)

    def limited(self, among: np.ndarray, limit: int | None, seed: int, of: str) -> LabelledImages:
        """At most `limit` of the rows `among`: of a person's own a fair sample, of a named set the
        first, whose order on disk is random already."""
        total = len(among)
        if limit is None or limit >= total:
            return self.take(among, f"all {total:,} {of}")
        if self.kind == "named":
            return self.take(among[:limit], f"the first {limit:,} of {total:,} {of}")
        chosen = among[fair_sample(self.labels[among], limit, seed)]
        return self.take(chosen, f"a sample of {limit:,} of {total:,} {of} by seed {seed}")


@dataclass(frozen=True)
class Material:
    """What a head is fitted to, and what tests it; `split` says how one set became both."""

    train: LabelledImages
    test: LabelledImages
    split: Split | None


def measured_images(
    release: Release,
    name: str | None,
    *,
    limit: int | None = None,
    seed: int = 0,
    split: Split | None = None,
    say: Say = lambda text: None,
) -> LabelledImages:
    """Images to measure on: a named set's test images, a folder's, or the bundled sample of what
    the model was trained on.

    Args:
        release: whose input they become.
        name: of the set, or a folder; of one with train/ and test/ the test images are taken.
        limit: how many at most: of a folder a fair sample, of a named set the first.
        seed: of the sample.
        split: of these images, the ones that a head was not fitted to are taken.
        say: told what was left out, and which images these are where that is not all.

    Raises:
        UnknownNameError: no such set, and no folder.
        DataError: no images, or one that cannot be read; says which.
    """
    preprocess = release.config.preprocess
    if name is None:
        name = f"{release.config.recipe.get('data', '')}".removesuffix("-sample") + "-sample"
        if name not in SAMPLES:
            raise UsageError(f"model {release.config.name!r} has no bundled sample; give --data")
    rows = _measured_rows(name, preprocess, say)
    among, of = np.arange(len(rows)), "images"
    if split is not None and split.rows == rows.digest:
        _, among = hold_out(rows.labels, split.seed)
        of = "images that the head was not fitted to"
        say(f"note: {len(among):,} of {len(rows):,} images are measured, {of}")
    elif split is not None and split.data == rows.name:
        say(
            f"note: the head was fitted to a part of {rows.name}, whose files have changed since; "
            "which of these images it has seen is not known, and they count as if it had seen none"
        )
    dataset = rows.limited(among, limit, seed, of)
    if rows.kind == "own" and len(dataset) < len(among):
        say(f"note: {dataset.rows}, in proportion to the classes")
    return dataset


def _measured_rows(name: str, preprocess: Preprocess, say: Say) -> Rows:
    path, own = Path(name), name_of(Path(name))
    if _is_named(name):
        return _rows_of_set(name, "test", preprocess)
    if shards := find_parquet(path):
        if "test" in shards:
            say(f"note: the test files of {own} are measured")
        return _rows_of_parquet(shards.get("test") or shards[""], own, preprocess)
    if parts := find_parts(path):
        say(f"note: {parts[1].name}/ of {own} is measured")
        return _rows_of_folder(parts[1], preprocess, say, name=own)
    return _rows_of_folder(path, preprocess, say)


def head_split(release: Release, probe: Path | None) -> Split | None:
    """How the images were split that the head in `probe`, or the release's own, was fitted to."""
    if probe is not None:
        return read_split(probe.read_bytes()) if probe.is_file() else None
    return read_split(release.read(PROBE)) if release.has(PROBE) else None


def fitting_images(
    release: Release,
    name: str | None,
    *,
    limit: int | None = None,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Material:
    """Images to fit a head to, and others to test it on.

    A named set and a folder with train/ and test/ (or val/, validation/) have both. Of class
    folders, and of a set that is a sample, a fifth of each class is held out.

    Args:
        release: whose input they become.
        name: of the set, or a folder; None is what the model was trained on.
        limit: how many to fit to at most: of a folder a fair sample, of a named set the first.
        seed: of the sample and the held-out part.
        say: told what was left out, and what tests the head.

    Raises:
        UnknownNameError: no such set, and no folder.
        UsageError: no class folders, one class alone, or test images of other classes.
        DataError: no images, or one that cannot be read; says which.
    """
    preprocess = release.config.preprocess
    if name is None:
        name = str(release.config.recipe.get("data", "cifar10"))
        if name not in (*NAMED, *SAMPLES):
            raise UsageError(
                f"model {release.config.name!r} was trained on {name!r}, which is no named data "
                "set; give --data with cifar10 or a folder of class folders"
            )
    elif not _is_named(name):
        return _of_own(Path(name), preprocess, limit, seed, say)
    if name in SAMPLES:
        say(f"note: {name} holds test images: fine for trying things out, not for results")
        return _split(_rows_of_set(name, "test", preprocess), limit, seed, say)
    train = _rows_of_set(name, "train", preprocess)
    return _both(train, _rows_of_set(name, "test", preprocess), limit, seed)


def _is_named(name: str) -> bool:
    """Whether data is a named set; it is found whatever lies here under its name. What is no
    folder and no Parquet is one too, if only to be refused."""
    return name in NAMED or name in SAMPLES or not (Path(name).is_dir() or find_parquet(Path(name)))


def _of_own(path: Path, preprocess: Preprocess, limit: int | None, seed: int, say: Say) -> Material:
    shards, name = find_parquet(path), name_of(path)
    if "test" in shards:
        say(f"note: fitted to the train files of {name}, tested on the test files")
        both = [_rows_of_parquet(shards[part], name, preprocess) for part in ("train", "test")]
        return _both_own(both[0], both[1], path, limit, seed)
    parts = find_parts(path)
    if shards or parts is None:
        rows = (
            _rows_of_parquet(shards[""], name, preprocess)
            if shards
            else _rows_of_folder(path, preprocess, say)
        )
        _check_classes(rows, path)
        return _split(rows, limit, seed, say)
    say(f"note: fitted to {parts[0].name}/, tested on {parts[1].name}/")
    train, test = (_rows_of_folder(p, preprocess, say, name=name) for p in parts)
    return _both_own(train, test, path, limit, seed)


def _both_own(train: Rows, test: Rows, path: Path, limit: int | None, seed: int) -> Material:
    """The test images with the training images' numbers of classes."""
    _check_classes(train, path)
    number = {name: i for i, name in enumerate(train.classes)}
    unknown = [name for name in test.classes if name not in number]
    if unknown or not test.classes:
        raise UsageError(
            f"the test part of {str(path)!r} has classes that its training part has not, such as "
            f"{next(iter(unknown), 'none at all')!r}; give both the same classes"
        )
    labels = np.array([number[name] for name in test.classes], np.int64)[test.labels]
    return _both(train, replace(test, labels=labels, classes=train.classes), limit, seed)


def _check_classes(rows: Rows, path: Path) -> None:
    if len(rows.classes) < 2:
        raise UsageError(
            f"{str(path)!r} has {len(rows.classes)} class folders with images, or labels; a head "
            "needs at least 2: put the images of each class into a folder of its own"
        )


def _both(train: Rows, test: Rows, limit: int | None, seed: int) -> Material:
    return Material(
        train.limited(np.arange(len(train)), limit, seed, "training images"),
        test.limited(np.arange(len(test)), None, seed, "test images"),
        None,
    )


def _split(rows: Rows, limit: int | None, seed: int, say: Say) -> Material:
    kept, held = hold_out(rows.labels, seed)
    if not len(held):
        raise DataError(
            f"{rows.name} has one image a class; give at least two, one of which tests the head"
        )
    say(
        f"note: {100 * HELD_OUT:g}% of each class, drawn from seed {seed}, is held out and tests "
        f"the head: {len(held):,} of {len(rows):,} images"
    )
    return Material(
        rows.limited(kept, limit, seed, "images that are not held out"),
        rows.take(held, f"{len(held):,} of {len(rows):,} images, held out by seed {seed}"),
        Split(rows.name, seed, rows.digest),
    )


def _rows_of_set(name: str, part: Part, preprocess: Preprocess) -> Rows:
    stored = find_dataset(name, part)
    digest = hashlib.sha256(name.encode())
    digest.update(stored.labels.tobytes())
    return Rows(
        name,
        stored.labels,
        stored.classes,
        digest.hexdigest(),
        lambda chosen: fit_all(decode(stored, chosen, name), preprocess),
        "named",
    )


def _rows_of_folder(
    folder: Path, preprocess: Preprocess, say: Say, name: str | None = None
) -> Rows:
    found = find_labelled(folder)
    if found.left_out:
        say(describe(found.left_out))
    return Rows(
        name or found.name,
        np.array(found.labels, np.int64),
        found.classes,
        _digest(folder, found),
        lambda chosen: _read([found.paths[i] for i in chosen], preprocess),
        "own",
    )


def _rows_of_parquet(files: Sequence[Path], name: str, preprocess: Preprocess) -> Rows:
    encoded = read_encoded(files)
    digest = hashlib.sha256(encoded.labels.tobytes())
    for content in encoded.images:
        digest.update(f"{len(content or b'')}\0".encode())
    return Rows(
        name,
        encoded.labels,
        encoded.classes,
        digest.hexdigest(),
        lambda chosen: _read([encoded.images[i] for i in chosen], preprocess),
        "own",
    )


def _digest(folder: Path, found: Labelled) -> str:
    digest = hashlib.sha256()
    for path, label in zip(found.paths, found.labels, strict=True):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{label}\0".encode())
    return digest.hexdigest()


def _read(sources: Sequence[Path | bytes | None], preprocess: Preprocess) -> np.ndarray:
    images = np.empty((len(sources), preprocess.size, preprocess.size, 3), np.uint8)
    for i, (source, image) in enumerate(read_images(sources, preprocess)):
        if isinstance(image, DataError):
            what = repr(str(source)) if isinstance(source, Path) else f"image {i}"
            raise DataError(f"{what} cannot be used: {image}; remove it") from image
        images[i] = image
    return images
