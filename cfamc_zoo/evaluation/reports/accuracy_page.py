"""One self-contained HTML page of a measurement: numbers, curve, pictures, how to cite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from cfamc_zoo.evaluation.reports.chart import Chart, Point
from cfamc_zoo.evaluation.reports.page import MeasuredPage, Picture, render_template, shown_of
from cfamc_zoo.evaluation.robustness import Accuracy


@dataclass(frozen=True, kw_only=True)
class Page(MeasuredPage):
    """What the page of a classifier shows.

    Attributes:
        accuracies: rows of `evaluate`.
        worst: the attack whose rows are the curve.
        doubts: sentences.
    """

    accuracies: list[Accuracy]
    worst: str
    doubts: list[str]

    @property
    def clean(self) -> Accuracy:
        return self.accuracies[0]

    @property
    def robust(self) -> list[Accuracy]:
        """The worst case at each radius."""
        return [a for a in self.accuracies if a.attack == self.worst]

    def chart(self) -> Chart:
        """Accuracy against epsilon, with its intervals."""
        at = {"": 0.0} | {threat.text: threat.eps for threat in self.threats}
        points = [
            Point(
                at[a.eps],
                a.eps or "0",
                a.value,
                f"{a.value:.1f}",
                *a.interval,
            )
            for a in (self.clean, *self.robust)
        ]
        return Chart(
            names=("accuracy, %", f"epsilon, the largest perturbation ({self.norm})"),
            top=100,
            curves=[("accuracy", sorted(points, key=lambda p: p.x))],
            levels=[(level, str(level)) for level in (0, 25, 50, 75, 100)],
        )


@torch.no_grad()
def pictures_of(
    model: nn.Module,
    images: np.ndarray,
    adversarial: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    verdicts: list[bool | None],
) -> list[Picture]:
    """Up to 8 images that fell and 4 that stand, in their order.

    Args:
        model: on whichever device; in evaluation mode.
        images, adversarial: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64.
        verdicts: N of the worst case.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def predicted(x: np.ndarray) -> list[int]:
        return model(torch.from_numpy(x).to(device)).argmax(1).tolist()

    moved = np.abs(adversarial - images).reshape(len(images), -1).max(1) > 0
    chosen = shown_of([None if v is False and not moved[i] else v for i, v in enumerate(verdicts)])
    if not chosen:
        return []
    before, after = predicted(images[chosen]), predicted(adversarial[chosen])
    return [
        Picture(images[i], adversarial[i], classes[labels[i]], classes[b], classes[a])
        for i, b, a in zip(chosen, before, after, strict=True)
    ]


def render(page: Page) -> str:
    """The page as HTML, without any reference to files or hosts but the card's."""
    return render_template("accuracy.html", page)
