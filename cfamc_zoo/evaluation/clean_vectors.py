"""Vectors of clean images, which all that moves a vector is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.attacks.feature import DISTANCES, DistanceName

LEAST = 3  # images; fewer have no pairs to compare


class CleanVectors:
    """Of N images as they are, and how far each is from each other one.

    Args:
        vectors: (N, D) float32.
        distance: "l2" or "cosine".

    Attributes:
        pairs: (N (N - 1) / 2,) sorted distances of all pairs.

    Raises:
        DataError: half of all pairs or more are the same, so there is nothing to compare with.
    """

    def __init__(self, vectors: Tensor, distance: DistanceName):
        self.vectors, self.distance = vectors, distance
        between = self.to_all(vectors)
        self.pairs = between[torch.triu(torch.ones_like(between), 1) > 0].sort().values
        if not self.typical[1] > 0:
            raise DataError(
                f"the encoder gives the same vector for most of {len(vectors)} images, so nothing "
                "can be measured; look whether the images differ, it is trained, and its mean and "
                "std are those of pixels in [0, 1]"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def typical(self) -> tuple[float, float, float]:
        """Distances that a tenth, half and nine tenths of all pairs are at most apart."""
        last = len(self.pairs) - 1
        tenth, half, most = (self.pairs[int(part * last)].item() for part in (0.1, 0.5, 0.9))
        return tenth, half, most

    def moved(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """(k, D) vectors of (k,) images that were changed, to (k,) distances from their own."""
        return DISTANCES[self.distance](vectors, self.vectors[rows])

    def to_all(self, vectors: Tensor) -> Tensor:
        """(k, D) to (k, N)."""
        if self.distance == "cosine":
            a, b = (nn.functional.normalize(x, dim=1) for x in (vectors, self.vectors))
            return 1 - a @ b.T
        mode = "donot_use_mm_for_euclid_dist"
        return torch.cdist(vectors, self.vectors, compute_mode=mode)

    def to_all_and_own(self, vectors: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As `to_all`, and as `moved`: the distance to an image's own vector is the same in both,
        so that a rounded one decides nothing."""
        own, away = self.moved(vectors, rows), self.to_all(vectors)
        away[torch.arange(len(rows), device=rows.device), rows] = own
        return away, own

    def quantiles(self, distances: Tensor) -> list[float]:
        """Universal quantiles: the part of all pairs that are at most each of (k,) distances apart.

        Source: Petrov and Kwiatkowska (arXiv 2210.04076), section 3.
        """
        counts = torch.searchsorted(self.pairs, distances.contiguous(), right=True)
        return (counts / len(self.pairs)).tolist()


def check_count(n: int) -> None:
    """Refuses too few images.

    Raises:
        DataError: says how many there must be.
    """
    if n < LEAST:
        raise DataError(f"{n} images have no pairs to compare; give at least {LEAST}")
