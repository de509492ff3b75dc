"""Random numbers of attacks: drawn image by image, so that no image's depend on its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.zoo.threat import Threat

Key = tuple[int, int]  # an image's seed, and which restart or victim: each has its own numbers


def draw(keys: Sequence[Key], sample: Callable[[np.random.Generator], np.ndarray]) -> Tensor:
    """One sample an image.

    Args:
        keys: (N,), one an image.
        sample: called with the image's generator.

    Returns:
        (N, ...) float32 on the CPU.
    """
    samples = [sample(np.random.default_rng(key)) for key in keys]
    return torch.from_numpy(np.stack(samples).astype(np.float32))


def in_ball(images: Tensor, threat: Threat, keys: Sequence[Key]) -> Tensor:
    """Perturbations that are uniform in the ball, then clipped to the image.

    Args:
        images: (N, C, H, W) in [0, 1].

    Returns:
        (N, C, H, W), on the images' device.
    """
    shape = images.shape[1:]
    if threat.norm == "linf":
        noise = draw(keys, lambda r: r.uniform(-threat.eps, threat.eps, shape))
        return threat.project(images, noise.to(images))

    def sample(generator: np.random.Generator) -> np.ndarray:
        direction = generator.standard_normal(shape)
        radius = threat.eps * generator.random() ** (1 / direction.size)
        return direction * (radius / np.linalg.norm(direction))

    return threat.project(images, draw(keys, sample).to(images))


def on_surface(images: Tensor, threat: Threat, keys: Sequence[Key]) -> Tensor:
    """Perturbations of norm eps, then clipped to the image: where AutoPGD starts.

    Uniform noise scaled to the surface of the L-infinity ball, Gaussian of the L2 ball.
    """
    shape = images.shape[1:]
    if threat.norm == "linf":
        noise = draw(keys, lambda r: r.uniform(-1, 1, shape)).to(images)
    else:
        noise = draw(keys, lambda r: r.standard_normal(shape)).to(images)
    size = threat.size(noise).view(-1, 1, 1, 1)
    return threat.project(images, noise * (threat.eps / size))
