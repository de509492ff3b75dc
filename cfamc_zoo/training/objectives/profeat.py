"""ProFeAT: a robust student of a standard teacher, in features and behind its projector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cfamc_zoo.training.objectives.objective import Climb, Look, Roles, Scored, Taught


@dataclass(frozen=True)
class ProFeat(Taught):
    """DeACL's two terms, half in features f and half in projections p by the teacher's projector.

    -cos(s(x), t(x)) - robustness cos(s(x'), s(x)); the teacher sees the first view, the student
    the second and its perturbation x', which drives f of the student from its clean self and p
    from the teacher's.

    Source: ProFeAT (arXiv 2406.05796) and its public code.
    """

    kind: Literal["profeat"] = "profeat"  # the objective
    robustness: float = 2.0  # weight of the second term
    projected: float = 0.5  # weight of what is behind the projector; features have the rest

    method = "ProFeAT"
    views = 2
    fewest_views = 2
    features = ("backbone", "projection")
    taught = ("backbone", "projection")

    def roles(self, views: int) -> Roles:
        weak, strong = slice(0, 1), slice(1, 2)
        return Roles(strong, strong, weak)

    def loss(self, f: Tensor, p: Tensor, teacher_f: Tensor, teacher_p: Tensor) -> Scored:
        """(2, B, D) of the clean and the perturbed image, (1, B, D) of the teacher."""
        learnt, kept = f.new_zeros(()), f.new_zeros(())
        for weight, student, teacher in (
            (1 - self.projected, f, teacher_f),
            (self.projected, p, teacher_p),
        ):
            clean, perturbed = student
            learnt = learnt + weight * F.cosine_similarity(clean, teacher[0]).mean()
            kept = kept + weight * F.cosine_similarity(perturbed, clean).mean()
        parts = {"learnt": learnt.detach(), "kept": kept.detach()}
        return -learnt - self.robustness * kept, parts

    def attack(self, look: Look, crops: Tensor, *taught: Tensor) -> Climb:
        with torch.no_grad():
            itself = look(crops)[0]

        def climb(perturbed: Tensor) -> Tensor:
            f, p = look(perturbed)
            near = F.cosine_similarity(f, itself, dim=-1).mean()
            return -near - F.cosine_similarity(p, taught[1], dim=-1).mean()

        return climb
