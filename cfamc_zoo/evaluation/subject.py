"""The images that a head is fitted to or a model is measured on: named sets and folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from cfamc_zoo.datasets import NAMED, SAMPLES, LabelledImages, load_dataset
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.evaluation.sampling import HELD_OUT, fair_sample, hold_out
from cfamc_zoo.folders import Labelled, describe, find_labelled, find_parts, name_of
from cfamc_zoo.zoo.images.decoding import read_images
from cfamc_zoo.zoo.images.preprocess import fit
from cfamc_zoo.zoo.network.head import Split
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.folder import PROBE, Release
from cfamc_zoo.zoo.release.probe_file import read_split

Say = Callable[[str], None]


@dataclass(frozen=True)
class Rows:
    """Labelled images that are read once it is known which of them are wanted.

    Attributes:
        name: of the data.
        labels: (N,) int64, indices into `classes`.
        classes: names; empty where there are no labels.
        digest: of what tells the rows apart: equal for the same files with the same labels.
        read: (M,) indices to (M, S, S, 3) uint8.
        kind: "named", or "folder".
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
        """At most `limit` of the rows `among`: of a folder a fair sample, of a named set the
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
    if not _is_folder(name):
        rows = _rows_of_set(load_dataset(name, "test"), preprocess)
    elif parts := find_parts(Path(name)):
        say(f"note: {parts[1].name}/ of {name_of(Path(name))} is measured")
        rows = _rows_of_folder(parts[1], preprocess, say, name=name_of(Path(name)))
    else:
        rows = _rows_of_folder(Path(name), preprocess, say)
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
    if rows.kind == "folder" and len(dataset) < len(among):
        say(f"note: {dataset.rows}, in proportion to the classes")
    return dataset


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
    elif _is_folder(name):
        return _of_folder(Path(name), preprocess, limit, seed, say)
    if name in SAMPLES:
        say(f"note: {name} holds test images: fine for trying things out, not for results")
        return _split(_rows_of_set(load_dataset(name, "test"), preprocess), limit, seed, say)
    train, test = (_rows_of_set(load_dataset(name, part), preprocess) for part in ("train", "test"))
    return _both(train, test, limit, seed)


def _is_folder(name: str) -> bool:
    """Whether data is a folder. A named set is found whatever lies here under its name."""
    return name not in NAMED and name not in SAMPLES and Path(name).is_dir()


def _of_folder(
    folder: Path, preprocess: Preprocess, limit: int | None, seed: int, say: Say
) -> Material:
    parts = find_parts(folder)
    if parts is None:
        rows = _rows_of_folder(folder, preprocess, say)
        _check_classes(rows, folder)
        return _split(rows, limit, seed, say)
    train, test = (_rows_of_folder(p, preprocess, say, name=name_of(folder)) for p in parts)
    _check_classes(train, parts[0])
    _check_classes(test, parts[1], least=1)
    say(f"note: fitted to {parts[0].name}/, tested on {parts[1].name}/")
    number = {name: i for i, name in enumerate(train.classes)}
    unknown = [name for name in test.classes if name not in number]
    if unknown:
        raise UsageError(
            f"{str(parts[1])!r} has classes that {str(parts[0])!r} has not, such as "
            f"{unknown[0]!r}; give both the same class folders"
        )
    labels = np.array([number[name] for name in test.classes], np.int64)[test.labels]
    return _both(train, replace(test, labels=labels, classes=train.classes), limit, seed)


def _check_classes(rows: Rows, folder: Path, least: int = 2) -> None:
    if len(rows.classes) < least:
        raise UsageError(
            f"{str(folder)!r} has {len(rows.classes)} class folders with images; a head needs at "
            f"least {least}: put the images of each class into a folder of its own"
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


def _rows_of_set(dataset: LabelledImages, preprocess: Preprocess) -> Rows:
    digest = hashlib.sha256(dataset.name.encode())
    digest.update(dataset.labels.tobytes())
    return Rows(
        dataset.name,
        dataset.labels,
        dataset.classes,
        digest.hexdigest(),
        lambda chosen: sized(dataset.images[chosen], preprocess),
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
        "folder",
    )


def _digest(folder: Path, found: Labelled) -> str:
    digest = hashlib.sha256()
    for path, label in zip(found.paths, found.labels, strict=True):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{label}\0".encode())
    return digest.hexdigest()


def _read(paths: Sequence[Path], preprocess: Preprocess) -> np.ndarray:
    images = np.empty((len(paths), preprocess.size, preprocess.size, 3), np.uint8)
    for i, (path, image) in enumerate(read_images(paths, preprocess)):
        if isinstance(image, DataError):
            raise DataError(f"{str(path)!r} cannot be used: {image}; remove it") from image
        images[i] = image
    return images


def sized(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """(N, H, W, 3) uint8 as (N, S, S, 3)."""
    if images.shape[1:3] == (preprocess.size, preprocess.size):
        return images
    return np.stack([fit(Image.fromarray(image), preprocess) for image in images])
