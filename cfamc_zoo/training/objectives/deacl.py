"""DeACL: a robust student of a standard teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from cfamc_zoo.training.objectives.objective import Climb, Look, Scored, Taught


@dataclass(frozen=True)
class DeAcl(Taught):
    """-cos(s(x), t(x)) - 2 cos(s(x'), s(x)), where x' drives s(x') away from t(x).

    Source: DeACL (arXiv 2207.10899) and its public code.
    """

    kind: Literal["deacl"] = "deacl"  # the objective
    robustness: float = 2.0  # weight of the second term

    method = "DeACL"

    def loss(self, student: Tensor, teacher: Tensor) -> Scored:
        """(2, B, D) of the clean and the perturbed image, (1, B, D) of the teacher."""
        clean, perturbed = student
        learnt = F.cosine_similarity(clean, teacher[0]).mean()
        kept = F.cosine_similarity(perturbed, clean).mean()
        parts = {"learnt": learnt.detach(), "kept": kept.detach()}
        return -learnt - self.robustness * kept, parts

    def attack(self, look: Look, crops: Tensor, *taught: Tensor) -> Climb:
        return lambda perturbed: -F.cosine_similarity(look(perturbed)[0], taught[0], dim=-1).mean()
