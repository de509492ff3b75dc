"""The images that an attack is given, and what it may do with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images that are attacked together.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], classified correctly.
        labels: (N,) int64.
        seeds: one an image: its random numbers do not depend on the batch it is in.
        room: how many images the network may be given at a time. An attack of several runs does
            as many side by side as there is room for: a processor is slow on few images.
    """

    images: Tensor
    labels: Tensor
    seeds: Sequence[int]
    room: int

    def __len__(self) -> int:
        return len(self.images)
