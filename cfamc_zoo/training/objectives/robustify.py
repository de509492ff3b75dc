"""A teacher's encoder made robust: perturbed images keep the vectors of clean ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cfamc_zoo.training.objectives.objective import Roles, Scored, Taught


@dataclass(frozen=True)
class Robustify(Taught):
    """Squared L2 distance of the perturbed image's vector to the teacher's of the clean image.

    Source: FARE (arXiv 2402.12336), eq. 3. With a proximity weight the clean image's vector is
    held near the teacher's too: the constraint of LORE (arXiv 2505.18884) at a fixed multiplier,
    where LORE learns one.
    """

    kind: Literal["robustify"] = "robustify"  # the objective
    proximity: float = 0.0  # weight

    method = "FARE"

    def roles(self, views: int) -> Roles:
        one = slice(0, 1)
        return Roles(one if self.proximity else slice(0, 0), one, one)

    def loss(self, student: Tensor, teacher: Tensor) -> Scored:
        """(1 or 2, B, D) of the clean image, if seen, and the perturbed; (1, B, D) taught."""
        moved = (student[-1:] - teacher).square().sum(-1).mean()
        strayed = (student[:-1] - teacher).square().sum(-1).sum(0).mean()  # 0 without clean ones
        parts = {"moved": moved.detach(), "strayed": strayed.detach()}
        return moved + self.proximity * strayed, parts
