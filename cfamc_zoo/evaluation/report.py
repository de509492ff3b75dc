"""One self-contained HTML page of a measurement: numbers, curve, pictures, how to cite."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

import numpy as np
import torch
from PIL import Image
from torch import nn

from cfamc_zoo.evaluation.robustness import Accuracy
from cfamc_zoo.zoo.threat import parse_epsilon

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 260, 36, 44, 14, 12  # of the curve, in pixels
APART = 40  # pixels between two labels, at least


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


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Attributes:
        title: names the model and the data.
        facts: pairs of name and value: norm, seed, versions, device, digests.
        accuracies: rows of `evaluate`.
        worst: the attack whose rows are the curve.
        norm: of the radii.
        doubts: sentences.
        pictures_eps: the radius of the pictures.
        pictures: a few images.
        command: what makes the page again.
    """

    title: str
    facts: list[tuple[str, str]]
    accuracies: list[Accuracy]
    worst: str
    norm: str
    doubts: list[str]
    pictures_eps: str
    pictures: list[Picture]
    command: str


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
    """The page as HTML, without any reference to other files or hosts."""
    template = Template(
        (resources.files("cfamc_zoo") / "evaluation/report.html").read_text("utf-8")
    )
    return template.substitute(
        title=escape(page.title),
        headline=_headline(page),
        doubts=_doubts(page.doubts),
        rows="\n".join(map(_row, page.accuracies)),
        curve=_curve(page),
        pictures_eps=escape(page.pictures_eps),
        pictures="\n".join([*_channels(page.pictures), *map(_figure, page.pictures)]),
        facts="\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in page.facts),
        command=escape(page.command),
    )


def _headline(page: Page) -> str:
    clean = page.accuracies[0]
    parts = [f"<b>{clean.value:.1f}%</b> clean"]
    parts += [
        f"<b>{a.value:.1f}%</b> at {escape(a.eps)}"
        for a in page.accuracies
        if a.attack == page.worst
    ]
    return ", ".join(parts)


def _doubts(doubts: list[str]) -> str:
    if not doubts:
        return '<p class="fine">The self-checks raised no doubt.</p>'
    items = "".join(f"<li>{escape(d)}</li>" for d in doubts)
    return f'<div class="warn"><b>Reasons for doubt</b><ul>{items}</ul></div>'


def _row(a: Accuracy) -> str:
    low, high = a.interval
    cells = [
        ("", escape(a.attack or "none")),
        ("", escape(a.eps or "0")),
        ("n", f"{a.value:.2f}"),
        ("n", f"{low:.2f} to {high:.2f}"),
        ("n", str(a.n)),
        ("n", f"{a.seconds:.1f}"),
    ]
    return "<tr>" + "".join(f'<td class="{c}">{t}</td>' for c, t in cells) + "</tr>"


def _curve(page: Page) -> str:
    """Accuracy against epsilon, with its intervals, as inline SVG."""
    points = [(0.0, page.accuracies[0])]
    points += [
        (parse_epsilon(a.eps, page.norm), a) for a in page.accuracies if a.attack == page.worst
    ]
    points.sort(key=lambda p: p[0])
    largest = points[-1][0] or 1.0

    def x(eps: float) -> float:
        return LEFT + eps / largest * (WIDTH - LEFT - RIGHT)

    def y(percent: float) -> float:
        return TOP + (100 - percent) / 100 * (HEIGHT - TOP - BOTTOM)

    parts = []
    for percent in (0, 25, 50, 75, 100):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(percent):.1f}" '
            f'y2="{y(percent):.1f}"/><text class="tick" x="{LEFT - 8}" y="{y(percent) + 4:.1f}" '
            f'text-anchor="end">{percent}</text>'
        )
    line = " ".join(f"{x(eps):.1f},{y(a.value):.1f}" for eps, a in points)
    low = " ".join(f"{x(eps):.1f},{y(a.interval[0]):.1f}" for eps, a in points)
    high = " ".join(f"{x(eps):.1f},{y(a.interval[1]):.1f}" for eps, a in reversed(points))
    parts.append(f'<polygon class="band" points="{low} {high}"/>')
    parts.append(f'<polyline class="line" points="{line}"/>')
    labelled = -math.inf
    for eps, a in points:
        parts.append(f'<circle class="dot" cx="{x(eps):.1f}" cy="{y(a.value):.1f}" r="4"/>')
        # The last point has its label always, another where there is room.
        if eps < largest and (x(eps) - labelled < APART or x(largest) - x(eps) < APART):
            continue
        labelled = x(eps)
        # Labels of the first and last point stay inside the picture.
        anchor = "start" if eps == 0 else "end" if eps == largest else "middle"
        parts.append(
            f'<text class="value" x="{x(eps):.1f}" y="{y(a.value) - 10:.1f}" '
            f'text-anchor="{anchor}">{a.value:.1f}</text>'
            f'<text class="tick" x="{x(eps):.1f}" y="{HEIGHT - BOTTOM + 18}" '
            f'text-anchor="{anchor}">{escape(a.eps or "0")}</text>'
        )
    parts.append(
        f'<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" '
        'text-anchor="middle">epsilon</text>'
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Accuracy in percent against epsilon">{"".join(parts)}</svg>'
    )


def _channels(pictures: list[Picture]) -> list[str]:
    """What a picture leaves out of images that are neither grey nor RGB."""
    count = len(pictures[0].clean) if pictures else 3
    if count in (1, 3):
        return []
    shown = "the mean is shown" if count < 3 else "the first three are shown as red, green, blue"
    return [f'<p class="note">Of {count} channels, {shown}.</p>']


def _figure(picture: Picture) -> str:
    difference = picture.perturbed - picture.clean
    largest = float(np.abs(difference).max())
    gain = 0.5 / largest if largest else 1.0
    fell = picture.after != picture.label
    images = [
        (picture.clean, "clean", f"clean: {picture.before}"),
        (picture.perturbed, "perturbed", f"perturbed: {picture.after}"),
        (0.5 + gain * difference, "difference", f"difference, {gain:.0f} times"),
    ]
    drawn = "".join(
        f'<div><img alt="{kind}" src="{_png(image)}"><span>{escape(text)}</span></div>'
        for image, kind, text in images
    )
    verdict = "fell" if fell else "stands"
    return (
        f'<figure class="{verdict}"><figcaption>{escape(picture.label)} '
        f"<em>{verdict}</em></figcaption>{drawn}</figure>"
    )


def _png(image: np.ndarray) -> str:
    """(C, H, W) in [0, 1] as a data URI: grey of one or two channels, RGB of the first three."""
    shown = image[:3].transpose(1, 2, 0) if len(image) > 2 else image.mean(0)
    pixels = (shown * 255).round().clip(0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
