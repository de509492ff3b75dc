"""What pages of measurements have in common: their fields, pictures and templates."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from cfamc_zoo.evaluation.plan import OfOneNorm
from cfamc_zoo.pages import render_page
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
        caption: what stands below; "" is the label.
    """

    clean: np.ndarray
    perturbed: np.ndarray
    label: str
    before: str
    after: str
    caption: str = ""

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


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """What every page shows.

    Attributes:
        title: names what was measured, and the data.
        facts: pairs of name and value, in words: norm, seed, versions, device, digests.
        pictures: a few images.
        command: what makes the page again.
        card: where the model's card is; empty where that is not known.
        date: of the measurement.
    """

    title: str
    facts: list[tuple[str, str]]
    pictures: list[Picture]
    command: str
    card: str = ""
    date: str = field(default_factory=today)


@dataclass(frozen=True, kw_only=True)
class MeasuredPage(ReportPage, OfOneNorm):
    """A page of attacks; its pictures are those of the largest radius.

    Attributes:
        threats: of the results, of one norm.
    """

    threats: list[Threat]

    @property
    def pictures_eps(self) -> str:
        return self.epsilons[self.largest]


def shown_of(verdicts: list[bool | None]) -> list[int]:
    """Up to 8 that fell and 4 that stand, in their order."""
    fell = [i for i, v in enumerate(verdicts) if v is False][:8]
    stand = [i for i, v in enumerate(verdicts) if v is True][:4]
    return sorted(fell + stand)


def render_template(name: str, page: ReportPage) -> str:
    """A page of one of the templates beside this file. Every value is escaped as text."""
    template = Path(__file__).parent / "pages" / name
    return render_page(template, page, {"png": _png, "left_out": _left_out})


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
