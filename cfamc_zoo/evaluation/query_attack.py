"""Images of a search, perturbed so that their vectors leave: what an attacker would hand in."""

from __future__ import annotations

import numpy as np
import torch

from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.features import FeatureReader
from cfamc_zoo.evaluation.victim.model import attacked, width_of
from cfamc_zoo.zoo.device import find_device
from cfamc_zoo.zoo.release.folder import Release
from cfamc_zoo.zoo.release.loading import load_encoder
from cfamc_zoo.zoo.threat import threat_of

BATCH = 64  # images


def push_queries(
    release: Release,
    images: np.ndarray,
    *,
    feature: str,
    eps: str = "8/255",
    norm: str = "linf",
    seed: int = 0,
    device: str | None = None,
) -> np.ndarray:
    """Each image moved away from its own vector, by the cosine that a search compares with.

    Args:
        release: the encoder that the search uses.
        images: (N, 3, S, S) float32 in [0, 1], S its input size.
        feature: that the search reads.
        eps: radius in pixels of [0, 1], like "8/255".
        norm: "linf" or "l2".
        seed: of the starting points.
        device: "cpu", "cuda", ...; None is the GPU if there is one.

    Returns:
        (N, 3, S, S) float32 in [0, 1], within eps of the images.

    Raises:
        UnknownNameError, UsageError: no such norm or device, an impossible radius.
        ModelError: the encoder returns NaN.
    """
    threat, torch_device = threat_of(norm, eps), find_device(device)
    reader = FeatureReader(load_encoder(release), feature).to(torch_device)
    x = torch.from_numpy(images).to(torch_device)
    nobody = torch.zeros(len(x), dtype=torch.long, device=torch_device)
    attack = FeatureAttack(distance="cosine")
    pushed = []
    with attacked(reader, x, nobody, width_of(reader, x)) as victim:
        for first in range(0, len(x), BATCH):
            some = x[first : first + BATCH]
            seeds = [seed * 2**32 + first + i for i in range(len(some))]
            own = victim.logits(some)
            pushed.append(attack.push(victim, some, own, threat, seeds))
    result: np.ndarray = torch.cat(pushed).cpu().numpy()
    return result
