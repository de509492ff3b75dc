"""One self-contained HTML page of a measurement: numbers, curve, pictures, how to cite."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from cfamc_zoo.evaluation.plan import OfOneNorm
from cfamc_zoo.evaluation.reports.chart import Chart, Point
from cfamc_zoo.evaluation.robustness import Accuracy
from cfamc_zoo.zoo.threat import Threat


@dataclass(frozen=True)
class Picture:
    """One image before and after.

    Attributes:
        clean: (C, H, W) float32 in [0, 1].
        perturbed: same.
        label: the true class.
        before: the predicted class of the clean image.
        after: that of the perturbed one.
    """

    clean: np.ndarray
    perturbed: np.ndarray
    label: str
    before: str
    after: str

    @property
    def fell(self) -> bool:
        return self.after != self.label

    @property
    def gain(self) -> float:
        """How much the change is enlarged so that its largest value fills the range."""
        largest = float(np.abs(self.perturbed - self.clean).max())
        return 0.5 / largest if largest else 1.0

    @property
    def change(self) -> np.ndarray:
        """(C, H, W), enlarged, around grey."""
        return 0.5 + self.gain * (self.perturbed - self.clean)


def today() -> str:
    """The day in UTC, like 2026-01-31."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class Page(OfOneNorm):
    """What the page shows.

    Attributes:
        title: names the model and the data.
        facts: pairs of name and value, in words: norm, seed, versions, device, digests.
        accuracies: rows of `evaluate`.
        worst: the attack whose rows are the curve.
        threats: of the results, of one norm.
        doubts: sentences.
        pictures: a few images of the largest radius.
        command: what makes the page again.
        card: where the model's card is; empty where that is not known.
        date: of the measurement.
    """

    title: str
    facts: list[tuple[str, str]]
    accuracies: list[Accuracy]
    worst: str
    threats: list[Threat]
    doubts: list[str]
    pictures: list[Picture]
    command: str
    card: str = ""
    date: str = field(default_factory=today)

    @property
    def clean(self) -> Accuracy:
        return self.accuracies[0]

    @property
    def robust(self) -> list[Accuracy]:
        """The worst case at each radius."""
        return [a for a in self.accuracies if a.attack == self.worst]

    @property
    def pictures_eps(self) -> str:
        return self.epsilons[self.largest]

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


def shown_of(verdicts: list[bool | None]) -> list[int]:
    """Up to 8 that fell and 4 that stand, in their order."""
    fell = [i for i, v in enumerate(verdicts) if v is False][:8]
    stand = [i for i, v in enumerate(verdicts) if v is True][:4]
    return sorted(fell + stand)


def render(page: Page) -> str:
    """The page as HTML, without any reference to files or hosts but the card's."""
    return render_template("accuracy.html", page)


def render_template(name: str, page: object) -> str:
    """A page of one of the templates beside this file. Every value is escaped as text."""
    return _environment().get_template(name).render(page=page)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"png": _png, "left_out": _left_out}
    return environment


def _left_out(pictures: list[Picture]) -> str:
    """What a picture leaves out of images that are neither grey nor RGB; "" where nothing."""
    count = len(pictures[0].clean) if pictures else 3
    if count in (1, 3):
        return ""
    shown = "the mean is shown" if count < 3 else "the first three are shown as red, green, blue"
    return f"Of {count} channels, {shown}."


def _png(image: np.ndarray) -> str:
    """(C, H, W) in [0, 1] as a data URI: grey of one or two channels, RGB of the first three."""
    shown = image[:3].transpose(1, 2, 0) if len(image) > 2 else image.mean(0)
    pixels = (shown * 255).round().clip(0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
