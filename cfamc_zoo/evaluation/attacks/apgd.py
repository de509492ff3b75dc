"""AutoPGD: gradient ascent with momentum that halves its own steps. Untargeted and targeted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cfamc_zoo.errors import UnknownNameError
from cfamc_zoo.evaluation.arguments import whole
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.draws import on_surface
from cfamc_zoo.evaluation.attacks.gradient import gradient_of
from cfamc_zoo.evaluation.attacks.losses import (
    DLR,
    LOSSES,
    TARGETED_DLR,
    LossName,
    difference,
    rivals_of,
    targeted_dlr,
)
from cfamc_zoo.evaluation.attacks.survivors import Survivors
from cfamc_zoo.evaluation.attacks.targeted import Targeted
from cfamc_zoo.evaluation.victim.model import Victim
from cfamc_zoo.zoo.threat import Threat

RHO = 0.75  # a step that rises less often than this part of a period is too long
INERTIA = 0.25  # of the last move in the next
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # periods between checks, as parts of the steps

Objective = Callable[[Tensor], Tensor]  # (n, C) logits to (n,) losses


@dataclass(frozen=True)
class Apgd:
    """Untargeted AutoPGD.

    Attributes:
        loss: "ce", "margin" or "dlr"; with two classes, where the DLR loss is not defined, the
            margin is maximized in its place.
        steps: of each restart.
        restarts: independent runs.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks (arXiv 2003.01690), algorithm 1.
    """

    loss: LossName = "ce"
    steps: int = 100
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UnknownNameError("loss", self.loss, LOSSES)
        whole(self.steps, "steps", least=1)
        whole(self.restarts, "restarts", least=1)

    @property
    def name(self) -> str:
        return f"APGD-{self.loss.upper()}"

    def substitutions(self, classes: int) -> list[str]:
        """As `Attack` says."""
        if self.loss != "dlr" or classes >= DLR:
            return []
        return [
            f"the DLR loss needs {DLR} classes, the model has {classes}; the margin was maximized "
            "in its place"
        ]

    def run(self, victim: Victim, batch: Batch, threat: Threat) -> Tensor:
        """As `Attack.run`."""
        survivors = Survivors(victim, batch)
        loss = LOSSES["margin" if self.loss == "dlr" and victim.classes < DLR else self.loss]
        for _ in survivors.runs(self.restarts):
            ascend(
                survivors, threat, lambda logits: loss(logits, survivors.labels), steps=self.steps
            )
        return survivors.adversarial


@dataclass(frozen=True)
class ApgdTargeted(Targeted):
    """AutoPGD towards each of the likeliest wrong classes in turn, on the targeted DLR loss.

    With fewer than four classes, where that loss is not defined, the plain difference of the
    two logits is maximized in its place.
    """

    @property
    def name(self) -> str:
        return "APGD-T"

    def substitutions(self, classes: int) -> list[str]:
        """As `Attack` says."""
        ratio = (
            f"the targeted DLR loss needs {TARGETED_DLR} classes, the model has {classes}; the "
            "difference of the two logits was maximized in its place"
        )
        said = [ratio] if classes < TARGETED_DLR else []
        return said + super().substitutions(classes)

    def run(self, victim: Victim, batch: Batch, threat: Threat) -> Tensor:
        """As `Attack.run`."""
        survivors = Survivors(victim, batch)
        loss = targeted_dlr if victim.classes >= TARGETED_DLR else difference
        rivals = rivals_of(victim.logits(batch.images), batch.labels, self.targets)

        def objective(logits: Tensor) -> Tensor:
            return loss(logits, survivors.labels, rivals[survivors.rows, survivors.run])

        for _ in survivors.runs(rivals.shape[1]):
            ascend(survivors, threat, objective, steps=self.steps)
        return survivors.adversarial


@dataclass
class _Climb:
    """Where each image's ascent is. All tensors are (n, ...), one row for each that stands."""

    x: Tensor  # the images
    point: Tensor
    before: Tensor  # the point one step earlier
    gradient: Tensor
    loss: Tensor  # at the last step
    best: Tensor  # the point of the highest loss
    best_gradient: Tensor
    best_loss: Tensor
    checked_loss: Tensor  # best_loss at the last check
    step: Tensor  # (n, 1, 1, 1) its length
    rises: Tensor  # steps since the last check on which the loss rose
    halved: Tensor  # bool, whether the last check halved the step

    def select(self, who: Tensor) -> None:
        if not bool(who.all()):
            for name, value in vars(self).items():
                setattr(self, name, value[who])


def ascend(survivors: Survivors, threat: Threat, objective: Objective, *, steps: int) -> None:
    """AutoPGD over all rows that stand.

    Args:
        objective: what to maximize.
    """
    x = survivors.images
    start = x + on_surface(x, threat, survivors.keys)
    loss, gradient, suspect = _look(survivors, objective, start)
    climb = _Climb(
        x=x,
        point=start,
        before=start,
        gradient=gradient,
        loss=loss,
        best=start,
        best_gradient=gradient,
        best_loss=loss,
        checked_loss=loss,
        step=torch.full_like(x[:, :1, :1, :1], 2 * threat.eps),
        rises=torch.zeros_like(loss),
        halved=torch.ones_like(loss, dtype=torch.bool),
    )
    climb.select(survivors.confirm(start, suspect))
    period = max(int(FIRST * steps), 1)
    since = 0
    for step in range(steps):
        if not len(survivors):
            return
        _move(climb, threat, inertia=INERTIA if step else 0.0)
        loss, gradient, suspect = _look(survivors, objective, climb.point)
        climb.rises = climb.rises + (loss > climb.loss)
        climb.loss, climb.gradient = loss, gradient
        _remember(climb)
        climb.select(survivors.confirm(climb.point, suspect))
        since += 1
        if since == period:
            _check(climb, period)
            period, since = max(period - max(int(SHORTER * steps), 1), _shortest(steps)), 0
    survivors.confirm_rest(climb.best)


def _shortest(steps: int) -> int:
    return max(int(SHORTEST * steps), 1)


def _look(
    survivors: Survivors, objective: Objective, points: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient and whom the search takes for misclassified."""
    points = points.detach().requires_grad_()
    logits = survivors.victim.search_logits(points)
    losses = objective(logits)
    gradient = gradient_of(losses, points)
    suspect = logits.detach().argmax(1) != survivors.labels
    return losses.detach(), gradient, suspect


def _move(climb: _Climb, threat: Threat, *, inertia: float) -> None:
    x, point = climb.x, climb.point
    ahead = x + threat.project(x, point + climb.step * threat.steepest(climb.gradient) - x)
    if inertia:
        ahead = point + (1 - inertia) * (ahead - point) + inertia * (point - climb.before)
        ahead = x + threat.project(x, ahead - x)
    climb.before, climb.point = point, ahead


def _remember(climb: _Climb) -> None:
    better = climb.loss > climb.best_loss
    pixels = better.view(-1, 1, 1, 1)
    climb.best = torch.where(pixels, climb.point, climb.best)
    climb.best_gradient = torch.where(pixels, climb.gradient, climb.best_gradient)
    climb.best_loss = torch.where(better, climb.loss, climb.best_loss)


def _check(climb: _Climb, period: int) -> None:
    """Halves the steps that were too long and sends their images back to their best points.

    Too long: the loss rose too rarely, or the best loss has not changed since a check that did
    not halve.
    """
    stuck = ~climb.halved & (climb.checked_loss >= climb.best_loss)
    halve = (climb.rises <= RHO * period) | stuck
    pixels = halve.view(-1, 1, 1, 1)
    climb.step = torch.where(pixels, climb.step / 2, climb.step)
    climb.point = torch.where(pixels, climb.best, climb.point)
    climb.gradient = torch.where(pixels, climb.best_gradient, climb.gradient)
    climb.halved, climb.checked_loss = halve, climb.best_loss
    climb.rises = torch.zeros_like(climb.rises)
