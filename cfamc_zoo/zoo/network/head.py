"""A linear head as plain data: what it reads, its classes, and how its images were split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cfamc_zoo.errors import UsageError


@dataclass(frozen=True)
class Split:
    """How labelled images were split before a head was fitted to one part of them.

    Attributes:
        data: their name.
        seed: of the draw.
        rows: sha256 (hex) of what tells the images apart.
    """

    data: str
    seed: int
    rows: str

    def __post_init__(self) -> None:
        texts = isinstance(self.data, str) and isinstance(self.rows, str)
        if not texts or type(self.seed) is not int or self.seed < 0:
            raise UsageError(f"{self!r} must be a name, a seed of at least 0 and a digest")


@dataclass(frozen=True)
class Head:
    """A linear head.

    Attributes:
        feature: what it reads.
        data: the data set whose labels it was trained on.
        classes: names, in the order of the logits.
        crops: `CropPlan`'s fields where it reads the mean over crops, else None.
        split: of the data, where a part was held out of its training.
    """

    feature: str
    data: str
    classes: tuple[str, ...]
    crops: Mapping[str, Any] | None
    split: Split | None = None
