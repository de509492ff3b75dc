"""What every attack is: settings, a name, the norms it exists for, and `run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from cfamc_zoo.evaluation.target import Target
from cfamc_zoo.zoo.threat import Threat


class Attack(Protocol):
    """One attack."""

    @property
    def name(self) -> str:
        """As results show it: "APGD-CE"."""
        ...

    def run(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        *,
        seeds: Sequence[int],
    ) -> Tensor:
        """Attacks a batch.

        An image that has fallen, confirmed by the exact model, leaves the batch at once.

        Args:
            target: the model.
            images: (N, 3, S, S) float32 in [0, 1], classified correctly.
            labels: (N,) int64.
            threat: norm and radius.
            seeds: one an image: its random numbers do not depend on the batch it is in.

        Returns:
            (N, 3, S, S) perturbed images inside the threat model, the first that fools the
            model where one was found.
        """
        ...
