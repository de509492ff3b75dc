"""Golden values: what a release's encoder makes of a few images, kept when it is made."""

from __future__ import annotations

import numpy as np
import torch

from cfamc_zoo.export.parity import sized
from cfamc_zoo.zoo.release.folder import Release
from cfamc_zoo.zoo.release.golden import Golden
from cfamc_zoo.zoo.release.loading import load_encoder

IMAGES, VALUES = 8, 16  # so many values each of so many vectors: a few thousand bytes


def golden_of(release: Release, images: np.ndarray, *, data: str) -> Golden:
    """The golden values of a release, computed on the CPU.

    Args:
        images: (N, H, W, 3) uint8; the first 8 are taken.
        data: name of the set whose first images these are.

    Raises:
        ReleaseError: its weights cannot be used.
    """
    found = vectors_of(release, images[:IMAGES])
    return Golden(
        data,
        {
            feature: [[_short(value) for value in row[:VALUES]] for row in vectors]
            for feature, vectors in found.items()
        },
    )


def vectors_of(release: Release, images: np.ndarray) -> dict[str, np.ndarray]:
    """(N, D) float32 by feature, of (N, H, W, 3) uint8.

    Raises:
        ReleaseError: its weights cannot be used.
    """
    encoder = load_encoder(release)
    x = torch.from_numpy(sized(images, release.config.preprocess))
    with torch.no_grad():
        features = release.config.architecture.graph_features
        return {feature: encoder(x, feature).numpy() for feature in features}


def _short(value: float) -> float:
    """All that float32 holds, in as few digits as that takes."""
    return float(f"{float(value):.9g}")
