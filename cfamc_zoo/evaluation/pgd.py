"""Projected gradient descent in the L-infinity norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.target import Target
from cfamc_zoo.zoo.threat import Linf


@dataclass(frozen=True)
class Pgd:
    """PGD on the cross entropy.

    Attributes:
        steps: gradient steps of each restart.
        step_size: in pixels of [0, 1]; None is 2.5 eps / steps, which can cross the ball.
        restarts: independent runs; an image counts as robust when it withstands all.
        start: uniform in the ball, or at the image itself.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks
    (arXiv 1706.06083).
    """

    steps: int = 20
    step_size: float | None = None
    restarts: int = 1
    start: Literal["random", "zero"] = "random"

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.step_size is not None and not 0 < self.step_size <= 1:
            raise UsageError(f"step size is {self.step_size:g}; it must be in 0..1, like 1/255")

    @property
    def name(self) -> str:
        return f"PGD-{self.steps}"

    def run(
        self, target: Target, images: Tensor, labels: Tensor, threat: Linf, *, seeds: list[int]
    ) -> Tensor:
        """Attacks a batch.

        An image that has fallen, confirmed by the exact model, leaves the batch at once.

        Args:
            target: the model.
            images: (N, 3, S, S) float32 in [0, 1].
            labels: (N,) int64.
            threat: norm and radius.
            seeds: one an image: its random starts do not depend on the batch it is in.

        Returns:
            (N, 3, S, S) perturbed images, the first that fools the model where one was found.
        """
        adversarial = images.clone()
        standing = torch.arange(len(images), device=images.device)
        for restart in range(self.restarts):
            standing = self._restart(
                target, images, labels, threat, adversarial, standing, seeds, restart
            )
        return adversarial

    def _restart(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        threat: Linf,
        adversarial: Tensor,
        standing: Tensor,
        seeds: list[int],
        restart: int,
    ) -> Tensor:
        """One run over the images still standing; those that still stand after it."""
        size = self.step_size or 2.5 * threat.eps / self.steps
        chosen = [seeds[i] for i in standing.tolist()]
        delta = self._start(images[standing], threat, chosen, restart)
        for step in range(self.steps + 1):
            if not len(standing):
                break
            x, y = images[standing], labels[standing]
            point = (x + delta).requires_grad_()
            logits = target.search_logits(point)
            last = step == self.steps
            # The search's own opinion says whom to ask about; at the end everyone is asked.
            suspect = logits.argmax(1) != y
            asked = torch.arange(len(y), device=y.device) if last else suspect.nonzero()[:, 0]
            fallen = torch.zeros_like(suspect)
            if len(asked):
                seen = point.detach()[asked]
                fallen[asked] = target.predictions(seen) != y[asked]
                adversarial[standing[fallen]] = point.detach()[fallen]
            if last:
                adversarial[standing] = point.detach()
            else:
                (gradient,) = torch.autograd.grad(
                    F.cross_entropy(logits, y, reduction="sum"), point
                )
                delta = threat.project(x, delta + size * gradient.sign())
            standing, delta = standing[~fallen], delta[~fallen]
        return standing

    def _start(self, images: Tensor, threat: Linf, seeds: list[int], restart: int) -> Tensor:
        if self.start == "zero" or not seeds:
            return torch.zeros_like(images)
        shape = images.shape[1:]
        noise = [
            np.random.default_rng((seed, restart)).uniform(-threat.eps, threat.eps, shape)
            for seed in seeds
        ]
        delta = torch.from_numpy(np.stack(noise).astype(np.float32)).to(images)
        return threat.project(images, delta)
