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
    noise = draw(keys, lambda generator: threat.random_inside(generator, images.shape[1:]))
    return threat.project(images, noise.to(images))


def on_surface(images: Tensor, threat: Threat, keys: Sequence[Key]) -> Tensor:
    """Perturbations of norm eps, then clipped to the image: where AutoPGD starts."""
    noise = draw(keys, lambda generator: threat.random_direction(generator, images.shape[1:]))
    noise = noise.to(images)
    size = threat.size(noise).view(-1, 1, 1, 1)
    return threat.project(images, noise * (threat.eps / size))
