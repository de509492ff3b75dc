"""Labelled images by name, from a folder of class folders or from Parquet in the Hub's layout.

Everything becomes uint8 RGB arrays of one size. Samples of 1,000 test images are in the
package; `cifar10` and `cifar100` are looked for under $CFAMC_ZOO_DATA, then fetched from the Hub.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cfamc_zoo.errors import DataError, UnknownNameError, UsageError

if TYPE_CHECKING:  # the names alone are light
    import numpy as np

    from cfamc_zoo.parquet import Encoded

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Source:
    """Where a named data set is: a folder of Parquet files, here and on the Hub.

    Attributes:
        repo: on the Hub.
        folder: in it, and under $CFAMC_ZOO_DATA/NAME.
        label: column of the labels.
        test: images of its test split.
    """

    repo: str
    folder: str
    label: str
    test: int


NAMED = {
    "cifar10": Source("uoft-cs/cifar10", "plain_text", "label", 10_000),
    "cifar100": Source("uoft-cs/cifar100", "cifar100", "fine_label", 10_000),
}
SAMPLE = "-sample"  # how the names of the samples in the package end
# The first 1,000 rows of the test files.
SAMPLES = {f"{name}{SAMPLE}": f"{name}{SAMPLE}.parquet" for name in NAMED}


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        labels: (N,) int64, indices into `classes`.
        classes: names, in label order.
        name: what it was asked for as.
        rows: which of its rows these are, in words; empty for all.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    rows: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """sha256 (hex) of images and labels."""
        content = hashlib.sha256(self.images.tobytes())
        content.update(self.labels.tobytes())
        return content.hexdigest()

    def first(self, n: int | None) -> LabelledImages:
        """The first `n` rows, or all of them."""
        return LabelledImages(self.images[:n], self.labels[:n], self.classes, self.name)


def base_of(name: str) -> str:
    """The data set that `name` is, or is a sample of."""
    return name.removesuffix(SAMPLE)


def load_dataset(name: str, split: Part = "test", *, limit: int | None = None) -> LabelledImages:
    """Reads a data set.

    Args:
        name: one of NAMED, or of SAMPLES (test rows only).
        split: which part of a named set.
        limit: the first so many rows; no others are decoded.

    Raises:
        UnknownNameError: no such set.
        DataError: its files cannot be had or read.
    """
    stored = find_dataset(name, split)
    labels = stored.labels[:limit]
    return LabelledImages(decode(stored, range(len(labels)), name), labels, stored.classes, name)


def find_dataset(name: str, split: Part = "test") -> Encoded:
    """A data set, its images not decoded yet; arguments and errors of `load_dataset`."""
    from cfamc_zoo.parquet import read_encoded

    if name in NAMED:
        return read_encoded(_files(name, split), label=NAMED[name].label)
    if name not in SAMPLES:
        raise UnknownNameError("data set", name, [*NAMED, *SAMPLES])
    if split == "train":
        raise UsageError(f"{name!r} holds test images only; give {base_of(name)} to train on")
    file = resources.files("cfamc_zoo") / "samples" / SAMPLES[name]
    with resources.as_file(file) as path:
        return read_encoded([path], label=NAMED[base_of(name)].label)


def decode(stored: Encoded, rows: Iterable[int], name: str) -> np.ndarray:
    """Images of one size.

    Args:
        rows: which.
        name: of the set, for errors.

    Returns:
        (N, H, W, 3) uint8 RGB.

    Raises:
        DataError: an image cannot be decoded, or they are of several sizes.
    """
    import numpy as np
    from PIL import Image

    images = []
    for row in rows:
        try:
            with Image.open(io.BytesIO(stored.images[row] or b"")) as image:
                images.append(np.asarray(image.convert("RGB")))
        except OSError as error:
            raise DataError(f"{name!r}: image {row} cannot be decoded: {error}") from error
    sizes = {image.shape for image in images}
    if len(sizes) != 1:
        raise DataError(f"{name!r} has images of {len(sizes)} sizes; they must be of one size")
    return np.stack(images)


def _files(name: str, split: Part) -> list[Path]:
    source = NAMED[name]
    root = os.environ.get("CFAMC_ZOO_DATA")
    folder = Path(root) / name / source.folder if root else None
    if folder is None or not folder.is_dir():
        folder = _from_hub(name, source, split)
    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise DataError(f"{str(folder)!r} has no {split}-*.parquet; set CFAMC_ZOO_DATA anew")
    return files


def _from_hub(name: str, source: Source, split: Part) -> Path:
    from huggingface_hub import snapshot_download

    try:
        root = snapshot_download(
            source.repo, repo_type="dataset", allow_patterns=f"{source.folder}/{split}-*"
        )
    except Exception as error:  # the client's errors have no common base but Exception
        raise DataError(
            f"data set {name!r} is neither under $CFAMC_ZOO_DATA nor to be had from the Hub "
            f"({_reason(error)}); set CFAMC_ZOO_DATA to a folder that holds "
            f"{name}/{source.folder}/, or use {name}{SAMPLE}"
        ) from error
    return Path(root) / source.folder


def _reason(error: Exception) -> str:
    """What the Hub's client means by it."""
    from huggingface_hub import constants, errors

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    words = (
        (errors.LocalEntryNotFoundError, "the network or the Hub cannot be reached"),
        (errors.RepositoryNotFoundError, "it is not there, or not open to you"),
        (errors.EntryNotFoundError | errors.RevisionNotFoundError, "it has no such files there"),
    )
    said = (text for kind, text in words if isinstance(error, kind))
    return next(said, " ".join(str(error).split())[:200] or type(error).__name__)
