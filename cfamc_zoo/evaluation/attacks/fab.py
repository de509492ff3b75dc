"""The fast adaptive boundary attack, targeted: the nearest misclassified point, then its norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.gradient import gradient_of
from cfamc_zoo.evaluation.attacks.hyperplane import step_onto
from cfamc_zoo.evaluation.attacks.losses import difference, rivals_of
from cfamc_zoo.evaluation.attacks.survivors import Survivors
from cfamc_zoo.evaluation.attacks.targeted import Targeted
from cfamc_zoo.evaluation.victim.model import Victim
from cfamc_zoo.zoo.threat import Threat

PULL = 0.1  # at most so much of each step goes along the way from the image itself
OVERSHOOT = 1.05  # past the linearized boundary
BACK = 0.9  # of the way from the image, after the boundary was crossed


@dataclass(frozen=True)
class FabTargeted(Targeted):
    """FAB towards each of the likeliest wrong classes in turn.

    It looks for the smallest perturbation, whatever the radius; an image has fallen when one
    inside the radius is found. There is no random start, so no draws.

    Source: Croce and Hein, Minimally distorted adversarial examples with a fast adaptive
    boundary attack (arXiv 1907.02044), algorithm 1.
    """

    @property
    def name(self) -> str:
        return "FAB-T"

    def run(self, victim: Victim, batch: Batch, threat: Threat) -> Tensor:
        """As `Attack.run`."""
        survivors = Survivors(victim, batch)
        rivals = rivals_of(victim.logits(batch.images), batch.labels, self.targets)
        for _ in survivors.runs(rivals.shape[1]):
            self._towards(survivors, rivals, threat)
        return survivors.adversarial

    def _towards(self, survivors: Survivors, rivals: Tensor, threat: Threat) -> None:
        """Run k goes towards the k-th of (N, runs) classes."""
        victim = survivors.victim
        x = point = survivors.images
        for _ in range(self.steps):
            if not len(survivors):
                return
            labels, rival = survivors.labels, rivals[survivors.rows, survivors.run]
            ahead, normal = _linearize(victim, point, labels, rival)
            from_point = step_onto(point, normal, -ahead, threat)
            # The same hyperplane, seen from the image.
            offset = (normal * (x - point)).flatten(1).sum(1)
            from_image = step_onto(x, normal, -ahead - offset, threat)
            near = threat.size(from_point).clamp_min(1e-8)
            far = threat.size(from_image).clamp_min(1e-8)
            pull = (near / (near + far)).clamp_max(PULL).view(-1, 1, 1, 1)
            point = (point + OVERSHOOT * from_point) * (1 - pull) + (
                x + OVERSHOOT * from_image
            ) * pull
            point = point.clamp(0, 1)
            with torch.no_grad():
                crossed = victim.search_logits(point).argmax(1) != labels
            # Rounding may leave a point on the surface by a last digit outside.
            within = threat.size(point - x) <= threat.eps
            keep = survivors.confirm(point, crossed & within)
            x, point, crossed = x[keep], point[keep], crossed[keep]
            point = torch.where(crossed.view(-1, 1, 1, 1), x + BACK * (point - x), point)


def _linearize(
    victim: Victim, point: Tensor, labels: Tensor, rival: Tensor
) -> tuple[Tensor, Tensor]:
    """How far the rival is ahead of the label, (n,), and the gradient of that."""
    point = point.detach().requires_grad_()
    ahead = difference(victim.search_logits(point), labels, rival)
    return ahead.detach(), gradient_of(ahead, point)
