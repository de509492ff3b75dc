"""The network: a ResNet backbone, the representation layer and, where present, the projector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.errors import DataError, UnknownNameError, UsageError
from cfamc_zoo.zoo.network.resnet import ResNet
from cfamc_zoo.zoo.network.spec import FEATURES, Architecture, Preprocess


class Normalize(nn.Module):
    """Per-channel normalization as a layer, so that a perturbation's epsilon means pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocess: Preprocess):
        super().__init__()
        # Not persistent: config.json is their only copy.
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def normalization(preprocess: Preprocess) -> nn.Module:
    """The layer that `preprocess` asks for; nothing where pixels go in as they are."""
    plain = preprocess.mean == (0, 0, 0) and preprocess.std == (1, 1, 1)
    return nn.Identity() if plain else Normalize(preprocess)


def projector_block(inputs: int, outputs: int) -> nn.Sequential:
    """Linear + BatchNorm + ReLU."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))


def check_images(images: Tensor, dtype: torch.dtype | None = None) -> None:
    """Refuses what is no batch of images, in other words than torch would.

    Args:
        dtype: the weights'; None where any floating point will do.

    Raises:
        DataError: not (N, 3, H, W) floating point, or of another precision than the weights
            outside of autocast.
    """
    if not isinstance(images, Tensor):
        raise DataError(
            f"images are of type {type(images).__name__}; give a torch tensor (N, 3, H, W) in "
            "[0, 1], or any kind of images to cfamc_zoo.embed"
        )
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != 3:
        raise DataError(f"images are {shape}; give (N, 3, H, W), RGB{_remedy(shape)}")
    if not images.is_floating_point():
        raise DataError(
            f"images are {images.dtype}; give floating point in [0, 1]: images / 255 of 8 bits"
        )
    if dtype not in (None, images.dtype) and not torch.is_autocast_enabled(images.device.type):
        raise DataError(f"images are {images.dtype}, the weights {dtype}; give images.to({dtype})")


def _remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] == 3:
        return ": images[None] of a single one"
    return ": images.movedim(-1, 1) where channels come last" if shape[-1:] == (3,) else ""


class Encoder(nn.Module):
    """Images to features.

    Args:
        architecture: sizes of the network.
        preprocess: input size and, where the model has one, its normalization layer.
        projector: the layers behind the representation, or None in a release without them.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        preprocess: Preprocess | None = None,
        projector: nn.Module | None = None,
    ):
        super().__init__()
        self.architecture = architecture
        self.preprocess = preprocess or Preprocess()
        self.normalize = normalization(self.preprocess)
        self.backbone = ResNet(architecture)
        self.representation = projector_block(architecture.features, architecture.representation)
        self.projector = projector
        # `release.config.ReleaseConfig` of the release that it was loaded from, which sets it.
        self.config: Any = None

    def forward(self, images: Tensor, feature: str = "backbone") -> Tensor:
        """Features of a batch.

        Args:
            images: (N, 3, H, W) floating point in [0, 1], RGB.
            feature: "backbone", "representation" or "projection".

        Returns:
            (N, D), D = `architecture.dimension(feature)`; the projection has unit L2 norm.

        Raises:
            UnknownNameError: no such feature.
            UsageError: the projection of an encoder that was loaded without its projector.
            DataError: the images are of another type or shape.
        """
        if feature not in FEATURES:
            raise UnknownNameError("feature", feature, FEATURES)
        check_images(images, self.backbone.conv1.weight.dtype)
        x = self.backbone(self.normalize(images))
        if feature == "backbone":
            return x
        x = self.representation(x)
        if feature == "representation":
            return x
        if self.projector is None:
            raise UsageError(
                "this encoder has no projector, so no projection; use the backbone or the "
                "representation, or a release that has projector.safetensors"
            )
        return F.normalize(self.projector(x), dim=1)


def build_projector(architecture: Architecture) -> nn.Sequential:
    """The projector's layers behind the representation: block, then Linear to the projection."""
    return nn.Sequential(
        projector_block(architecture.representation, architecture.representation),
        nn.Linear(architecture.representation, architecture.projection),
    )
