"""Robust self-supervised image encoders that people can use.

    import cfamc_zoo
    encoder = cfamc_zoo.load("resnet18-thin-cifar10-free")   # nn.Module
    z = encoder(images)                                      # (N, 3, 32, 32) in [0, 1] -> (N, 128)

Nothing heavy is imported until it is used: torch comes with `load`, not with this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cfamc_zoo.errors import ZooError
from cfamc_zoo.zoo.registry import find_model, list_models

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from cfamc_zoo.embedding.vectors import Source
    from cfamc_zoo.zoo.classifier import Classifier
    from cfamc_zoo.zoo.encoder import Encoder

__version__ = "0.1.0"
__all__ = ["ZooError", "embed", "find_model", "list_models", "load", "load_classifier"]


def load(model: str) -> Encoder:
    """An encoder by model name or release folder, in evaluation mode, float32.

    Raises:
        UnknownNameError: no such model.
        ReleaseError: its files are not what its config pins.
    """
    from cfamc_zoo.zoo.registry import resolve
    from cfamc_zoo.zoo.weights import load_encoder

    return load_encoder(resolve(model))


def load_classifier(model: str) -> Classifier:
    """The encoder and its released linear head: an nn.Module from images in [0, 1] to logits.

    Raises:
        UnknownNameError: no such model.
        ReleaseError: its files are not what its config pins, or it has no probe.
    """
    from cfamc_zoo.zoo.registry import resolve
    from cfamc_zoo.zoo.weights import load_probe

    return load_probe(resolve(model))


def embed(
    images: Sequence[Source] | np.ndarray,
    *,
    model: str | None = None,
    feature: str = "backbone",
    scaling: str = "none",
    device: str | None = None,
) -> np.ndarray:
    """Vectors of image files or uint8 arrays: (N, D) float32, in their order, without torch.

    Args:
        images: paths, or (H, W, 3) or (H, W) uint8 arrays of any size.
        model: a name or a release folder; None is the best bundled encoder.
        feature: "backbone" or "representation".
        scaling: "none", or "unit" for rows at unit L2 norm.
        device: "cpu" (also None) or "cuda".

    Raises:
        UnknownNameError: no such model, feature or scaling.
        ReleaseError: its files are not what its config pins.
        DataError: an image that cannot be read; says which.
    """
    from cfamc_zoo.embedding.vectors import embed_images
    from cfamc_zoo.zoo.registry import default_model, resolve

    release = resolve(model or default_model())
    return embed_images(images, release, feature=feature, scaling=scaling, device=device)
