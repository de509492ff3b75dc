"""Which images of a batch still stand. The search proposes, the exact model decides."""

from __future__ import annotations

import torch
from torch import Tensor

from cfamc_zoo.evaluation.target import Target


class Standing:
    """The images of a batch that no perturbation has felled yet.

    An image that falls leaves: an attack goes on with the others alone.

    Attributes:
        rows: (n,) int64, their positions in the batch.
        adversarial: (N, 3, S, S): what felled an image, else the last that was tried.
    """

    def __init__(self, target: Target, images: Tensor, labels: Tensor):
        self.target, self.images, self.labels = target, images, labels
        self.adversarial = images.clone()
        self.rows = torch.arange(len(images), device=images.device)

    def __len__(self) -> int:
        return len(self.rows)

    def strike(self, points: Tensor, suspect: Tensor) -> Tensor:
        """Asks the exact model about the suspects and lets the fallen go.

        Args:
            points: (n, 3, S, S), one for each row.
            suspect: (n,) bool, whom the search believes to be misclassified.

        Returns:
            (n,) bool: who still stands. `rows` holds these afterwards.
        """
        keep = torch.ones_like(suspect)
        asked = suspect.nonzero()[:, 0]
        if len(asked):
            seen, rows = points[asked], self.rows[asked]
            fallen = self.target.predictions(seen) != self.labels[rows]
            self.adversarial[rows[fallen]] = seen[fallen]
            keep[asked] = ~fallen
            self.rows = self.rows[keep]
        return keep

    def rest(self, points: Tensor) -> None:
        """Ends a run: everyone left is asked about (n, 3, S, S) points, whatever the search said.

        The search is not the model: it can overlook a fall.
        """
        self.adversarial[self.rows] = points
        self.strike(points, torch.ones(len(points), dtype=torch.bool, device=points.device))
