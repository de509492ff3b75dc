"""What every attack is: settings, a name and `run`."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.victim.model import Victim
from cfamc_zoo.zoo.threat import Threat


class Attack(Protocol):
    """One attack: a frozen dataclass, whose fields are its settings.

    Of a type that `choice` knows how to read. It may have besides:

    norms: names of the norms that it is made for; without them it is for all.
    substitutions(classes): what it runs in place of what so few classes do not define, in
        sentences.
    """

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
