"""Draws the pictures of the documentation: docs/site/_static/crops.png and free.svg.

python docs/pictures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib import pyplot
from torch.nn import functional as F

import cfamc_zoo
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.training.adversary import ascend
from cfamc_zoo.training.crops import make_views
from cfamc_zoo.training.objectives.emp import invariance
from cfamc_zoo.training.recipe import load_recipe
from cfamc_zoo.zoo.threat import threat_of

STATIC = Path(__file__).parent / "site/_static"
IMAGE, CROPS = 29, 8  # the row of the bundled sample that is shown, and how many crops of it
BACKGROUND, INK, FADED, WEIGHTS, PIXELS = "#fbfbf8", "#222222", "#777777", "#2a6fb0", "#c2571a"


def crops() -> None:
    """One image; its crops; a perturbation of them, times ten; the perturbed crops."""
    recipe = load_recipe("cf-amc-ssl")
    image = torch.from_numpy(load_dataset("cifar10-sample").images[IMAGE]).movedim(-1, 0)[None]
    views = make_views(image, recipe.views, torch.Generator().manual_seed(3))[:CROPS]
    encoder = cfamc_zoo.load("resnet18-cifar10-free")

    def disagreement(x: Any) -> Any:
        return invariance(F.normalize(encoder(x, "representation"), dim=1)[:, None])

    threat = threat_of("linf", "8/255")
    delta = ascend(views, threat, step=2 / 255, steps=10, loss=disagreement)
    rows = [views, (0.5 + 10 * delta).clamp(0, 1), views + delta]
    names = ["crops", "perturbation,\ntimes ten", "what the\nnetwork sees"]
    figure, axes = pyplot.subplots(3, CROPS + 2, figsize=(9, 2.8), facecolor=BACKGROUND)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.03, wspace=0.08, hspace=0.08)
    for axis in axes.flat:
        axis.axis("off")
    axes[0][0].imshow(image[0].movedim(0, -1))
    axes[0][0].set_title("image", fontsize=9, color=INK)
    for row, (name, pictures) in enumerate(zip(names, rows, strict=True)):
        side = axes[row][1]
        side.text(0.95, 0.5, name, fontsize=9, color=INK, ha="right", va="center")
        for axis, picture in zip(axes[row][2:], pictures, strict=True):
            axis.imshow(picture.detach().movedim(0, -1).clamp(0, 1))
    figure.savefig(STATIC / "crops.png", dpi=130)


def free() -> None:
    """A batch is replayed three times: each pass moves the weights and the perturbation."""
    figure, axis = pyplot.subplots(figsize=(9, 2.5), facecolor=BACKGROUND)
    figure.subplots_adjust(left=0, right=1, top=1, bottom=0)
    axis.axis("off")
    axis.set_xlim(0, 9)
    axis.set_ylim(0, 2.5)
    for replay in range(3):
        x = 1.9 + 2.4 * replay
        _box(axis, x, 0.95, "one forward and\none backward pass", INK)
        axis.text(x + 0.05, 1.66, f"replay {replay + 1}", color=FADED, fontsize=9)
        _arrow(axis, x + 0.85, 1.55, x + 0.85, 2.0, WEIGHTS)
        axis.text(x + 0.85, 2.1, "weights step down", color=WEIGHTS, ha="center", fontsize=9)
        _arrow(axis, x + 0.85, 0.9, x + 0.85, 0.5, PIXELS)
        axis.text(x + 0.85, 0.3, "perturbation steps up", color=PIXELS, ha="center", fontsize=9)
        _arrow(axis, x - 0.6, 1.25, x - 0.05, 1.25, FADED)
    axis.text(0.6, 1.25, "crops of\none batch", color=INK, ha="center", va="center", fontsize=9)
    _arrow(axis, 8.45, 1.25, 8.8, 1.25, FADED)
    axis.text(8.6, 0.75, "next\nbatch", color=INK, ha="center", va="center", fontsize=9)
    figure.savefig(STATIC / "free.svg", metadata={"Date": None})


def _box(axis: Any, x: float, y: float, text: str, colour: str) -> None:
    axis.text(
        x + 0.85, y + 0.3, text, ha="center", va="center", fontsize=9, color=colour,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": FADED},
    )  # fmt: skip


def _arrow(axis: Any, x: float, y: float, to_x: float, to_y: float, colour: str) -> None:
    style = {"arrowstyle": "->", "color": colour, "lw": 1.4}
    axis.annotate("", xy=(to_x, to_y), xytext=(x, y), arrowprops=style)


if __name__ == "__main__":
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "cfamc-zoo"  # the same file from the same code
    crops()
    free()
