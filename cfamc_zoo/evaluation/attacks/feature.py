"""Attacks on an encoder itself, without labels: away from its own vector, or onto another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cfamc_zoo.errors import UnknownNameError
from cfamc_zoo.evaluation.arguments import check_step, whole
from cfamc_zoo.evaluation.attacks.draws import in_ball
from cfamc_zoo.evaluation.attacks.gradient import gradient_of
from cfamc_zoo.evaluation.victim.model import Victim
from cfamc_zoo.zoo.threat import Length, Threat

DistanceName = Literal["l2", "cosine"]


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """(N, D) and (N, D) to (N,): the length of the difference."""
    return (a - b).norm(dim=1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """(N, D) and (N, D) to (N,) in 0..2: one minus the cosine of the angle."""
    return 1 - F.cosine_similarity(a, b, dim=1)


DISTANCES: dict[DistanceName, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": euclidean,
    "cosine": cosine,
}


@dataclass(frozen=True)
class FeatureAttack:
    """PGD on the distance of two vectors.

    Attributes:
        distance: "l2" or "cosine".
        steps: of each run.
        step_size: as `Pgd`; None is 2.5 eps / steps.

    Source: Petrov and Kwiatkowska, Robustness of Unsupervised Representation Learning without
    Labels (arXiv 2210.04076), section 4: the unsupervised PGD attack, untargeted and targeted.
    """

    distance: DistanceName = "l2"
    steps: int = 20
    step_size: Length | None = None

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise UnknownNameError("distance", self.distance, DISTANCES)
        whole(self.steps, "steps", least=1)
        if self.step_size is not None:
            check_step(self.step_size)

    def push(
        self, victim: Victim, images: Tensor, vectors: Tensor, threat: Threat, seeds: Sequence[int]
    ) -> Tensor:
        """Perturbed images whose vectors are far from (N, D) `vectors`, their own ones."""
        return self._run(victim, images, vectors, threat, seeds, run=0, sign=1.0)

    def pull(
        self, victim: Victim, images: Tensor, vectors: Tensor, threat: Threat, seeds: Sequence[int]
    ) -> Tensor:
        """Perturbed images whose vectors are near (N, D) `vectors`, those of other images."""
        return self._run(victim, images, vectors, threat, seeds, run=1, sign=-1.0)

    def _run(
        self,
        victim: Victim,
        images: Tensor,
        vectors: Tensor,
        threat: Threat,
        seeds: Sequence[int],
        *,
        run: int,
        sign: float,
    ) -> Tensor:
        """The best of all points visited, by the search's own measure."""
        size = self.step_size or threat.step_size(self.steps)
        measure = DISTANCES[self.distance]
        # Not at the image: there its own distance is zero, and has no gradient.
        delta = in_ball(images, threat, [(seed, run) for seed in seeds])
        best, best_gain = images, torch.full_like(images[:, 0, 0, 0], -torch.inf)
        for step in range(self.steps + 1):
            point = (images + delta).requires_grad_()
            gain = sign * measure(victim.search_logits(point), vectors)
            better = gain.detach() > best_gain
            best = torch.where(better.view(-1, 1, 1, 1), point.detach(), best)
            best_gain = torch.where(better, gain.detach(), best_gain)
            if step < self.steps:
                gradient = gradient_of(gain, point)
                delta = threat.project(images, delta + size * threat.steepest(gradient))
        return best
