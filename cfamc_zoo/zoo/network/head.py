"""A linear head as plain data: what it reads, its classes, and how its images were split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.network.spec import Feature


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
        if self.seed < 0:
            raise UsageError(f"the seed of a split is {self.seed}; it must be at least 0")


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

    feature: Feature
    data: str
    classes: tuple[str, ...]
    crops: Mapping[str, Any] | None = None
    split: Split | None = None
