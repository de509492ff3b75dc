"""Projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cfamc_zoo.errors import UnknownNameError
from cfamc_zoo.evaluation.arguments import check_step, whole
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.draws import in_ball
from cfamc_zoo.evaluation.attacks.gradient import gradient_of
from cfamc_zoo.evaluation.attacks.losses import LOSSES, LossName
from cfamc_zoo.evaluation.attacks.survivors import Survivors
from cfamc_zoo.evaluation.victim.model import Victim
from cfamc_zoo.zoo.threat import Length, Threat

STARTS = ("random", "zero")


@dataclass(frozen=True)
class Pgd:
    """PGD.

    Attributes:
        steps: gradient steps of each restart.
        step_size: length of a step in the threat's norm; None is 2.5 eps / steps, which can
            cross the ball.
        restarts: independent runs; an image counts as robust when it withstands all.
        start: uniform in the ball, or at the image itself.
        loss: "ce", "margin" or "dlr".

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks
    (arXiv 1706.06083).
    """

    steps: int = 20
    step_size: Length | None = None
    restarts: int = 1
    start: Literal["random", "zero"] = "random"
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        whole(self.steps, "steps", least=1)
        whole(self.restarts, "restarts", least=1)
        if self.step_size is not None:
            check_step(self.step_size)
        if self.start not in STARTS:
            raise UnknownNameError("start", self.start, STARTS)
        if self.loss not in LOSSES:
            raise UnknownNameError("loss", self.loss, LOSSES)

    @property
    def name(self) -> str:
        return f"PGD-{self.steps}" + ("" if self.loss == "ce" else f" {self.loss}")

    def run(self, victim: Victim, batch: Batch, threat: Threat) -> Tensor:
        """As `Attack.run`."""
        survivors = Survivors(victim, batch)
        size = self.step_size or threat.step_size(self.steps)
        loss = LOSSES[self.loss]
        for _ in survivors.runs(self.restarts):
            x = survivors.images
            if self.start == "random":
                delta = in_ball(x, threat, survivors.keys)
            else:
                delta = torch.zeros_like(x)
            for _ in range(self.steps):
                y = survivors.labels
                point = (x + delta).requires_grad_()
                logits = victim.search_logits(point)
                gradient = gradient_of(loss(logits, y), point)
                keep = survivors.confirm(point.detach(), logits.argmax(1) != y)
                x, delta, gradient = x[keep], delta[keep], gradient[keep]
                if not len(survivors):
                    break
                delta = threat.project(x, delta + size * threat.steepest(gradient))
            survivors.confirm_rest(x + delta)
        return survivors.adversarial
