"""Which images of a batch still stand. The search proposes, the exact model decides."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor

from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.draws import Key
from cfamc_zoo.evaluation.victim.model import Victim


class Survivors:
    """The images of a batch that no perturbation has felled yet.

    An image that falls leaves: an attack goes on with the others alone. While `runs` has several
    runs side by side, each image has one row in each of them, and leaves all of them.

    Attributes:
        rows: (n,) int64, positions in the batch.
        run: (n,) int64, which run each row is of.
        adversarial: (N, C, H, W): what felled an image, else the last that was tried.
    """

    def __init__(self, victim: Victim, batch: Batch):
        self.victim, self.batch = victim, batch
        self.adversarial = batch.images.clone()
        self.rows = torch.arange(len(batch), device=batch.images.device)
        self.run = torch.zeros_like(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:
        """(n, C, H, W), as they were."""
        return self.batch.images[self.rows]

    @property
    def labels(self) -> Tensor:
        """(n,) int64."""
        return self.batch.labels[self.rows]

    @property
    def keys(self) -> list[Key]:
        """What the draws of each row depend on."""
        seeds = self.batch.seeds
        pairs = zip(self.rows.tolist(), self.run.tolist(), strict=True)
        return [(seeds[row], run) for row, run in pairs]

    def runs(self, count: int) -> Iterator[None]:
        """Starts runs 0, 1, ... over all that stand, as many side by side as there is room for.

        Each time, `rows` and `run` are of the runs that begin; ends when all have been, or when
        nothing stands.
        """
        first = 0
        while first < count and len(self):
            survivors = self.rows
            most, left = max(self.batch.room // len(survivors), 1), count - first
            together = ceil(left / ceil(left / most))  # so that no group is much smaller
            self.rows = survivors.repeat(together)
            self.run = torch.arange(first, first + together, device=survivors.device)
            self.run = self.run.repeat_interleave(len(survivors))
            yield
            self.rows = self.rows[self.run == first]
            first += together

    def confirm(self, points: Tensor, suspect: Tensor) -> Tensor:
        """Asks the exact model about the suspects and lets the fallen go.

        Args:
            points: (n, C, H, W), one for each row.
            suspect: (n,) bool, which of them the search believes to be misclassified.

        Returns:
            (n,) bool: which rows still stand. `rows` and `run` hold these afterwards.
        """
        asked = suspect.nonzero()[:, 0]
        if not len(asked):
            return torch.ones_like(suspect)
        seen, labels = points[asked], self.labels[asked]
        fallen = asked[self.victim.predictions(seen) != labels]
        self._keep(points, fallen)
        lost = torch.zeros(len(self.batch), dtype=torch.bool, device=points.device)
        lost[self.rows[fallen]] = True
        keep = ~lost[self.rows]
        self.rows, self.run = self.rows[keep], self.run[keep]
        return keep

    def confirm_rest(self, points: Tensor) -> None:
        """Ends the runs: all left are asked about (n, C, H, W) points, whatever the search said.

        The search is not the model: it can overlook a fall.
        """
        everyone = torch.arange(len(points), device=points.device)
        self._keep(points, everyone)
        self.confirm(points, torch.ones_like(everyone, dtype=torch.bool))

    def _keep(self, points: Tensor, which: Tensor) -> None:
        """Notes (k,) of the points; of an image that is there twice, that of its first run."""
        for run in self.run[which].unique().flip(0).tolist():
            chosen = which[self.run[which] == run]
            self.adversarial[self.rows[chosen]] = points[chosen]
