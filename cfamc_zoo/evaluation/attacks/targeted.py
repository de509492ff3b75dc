"""What attacks towards one wrong class after the other have in common."""

from __future__ import annotations

from dataclasses import dataclass

from cfamc_zoo.evaluation.arguments import whole
from cfamc_zoo.evaluation.attacks.losses import fewer_rivals


@dataclass(frozen=True)
class Targeted:
    """How long, and towards how many.

    Attributes:
        steps: towards each class.
        targets: how many classes, the likeliest ones, at most all wrong ones.
    """

    steps: int = 100
    targets: int = 9

    def __post_init__(self) -> None:
        whole(self.steps, "steps", least=1)
        whole(self.targets, "targets", least=1)

    def substitutions(self, classes: int) -> list[str]:
        """As `Attack` says."""
        return fewer_rivals(self.targets, classes)
