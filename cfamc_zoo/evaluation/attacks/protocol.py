"""What every attack is: settings, a name, the norms it exists for, and `run`."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.victim.model import Victim
from cfamc_zoo.zoo.threat import Threat


class Attack(Protocol):
    """One attack."""

    @property
    def name(self) -> str:
        """As results show it: "APGD-CE"."""
        ...

    def run(self, victim: Victim, batch: Batch, threat: Threat) -> Tensor:
        """Attacks a batch.

        An image that has fallen, confirmed by the exact model, leaves the batch at once.

        Args:
            victim: the model.
            batch: images that it classifies correctly.
            threat: norm and radius.

        Returns:
            (N, C, H, W) perturbed images inside the threat model; one that fools the model
            where one was found.
        """
        ...
