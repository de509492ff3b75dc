"""The network: a backbone, and where it has them a representation layer and a projector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.errors import DataError, ReleaseError, UsageError
from cfamc_zoo.zoo.network.families.architecture import Architecture
from cfamc_zoo.zoo.network.spec import Preprocess


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
        architecture: of the network.
        preprocess: input size and, where the model has one, its normalization layer.
        projector: the layers behind the representation, or None in a release without them.
        layers: the others, by feature; None makes them as the architecture says.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        preprocess: Preprocess | None = None,
        projector: nn.Module | None = None,
        layers: Mapping[str, nn.Module] | None = None,
    ):
        super().__init__()
        self.architecture = architecture
        self.preprocess = preprocess or Preprocess()
        self.normalize = normalization(self.preprocess)
        layers = make_layers(architecture) if layers is None else layers
        self.backbone = layers["backbone"]
        if "representation" in layers:
            self.representation = layers["representation"]
        self.projector = projector
        # `release.config.ReleaseConfig` of the release that it was loaded from, which sets it.
        self.config: Any = None

    def forward(self, images: Tensor, feature: str = "backbone") -> Tensor:
        """Features of a batch.

        Args:
            images: (N, 3, H, W) floating point in [0, 1], RGB.
            feature: one of `architecture.dimensions`: "backbone", and where the network has them
                "representation" and "projection".

        Returns:
            (N, D), D = `architecture.dimension(feature)`; the projection has unit L2 norm.

        Raises:
            UnknownNameError: no such feature.
            UsageError: a feature that this network has not, or the projection of an encoder that
                was loaded without its projector.
            DataError: the images are of another type or shape.
            ReleaseError: the network gives other features than its architecture says.
        """
        self.architecture.dimension(feature)  # refuses what there is not
        weight = next(self.backbone.parameters(), None)
        check_images(images, None if weight is None else weight.dtype)
        self.check_size(images)
        x = self.backbone(self.normalize(images))
        width = self.architecture.dimension("backbone")
        if x.shape[1:] != (width,):
            raise ReleaseError(
                f"{self.architecture.name} gives features of {tuple(x.shape[1:])} where its config "
                f"has {width}; export it again"
            )
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

    def check_size(self, images: Tensor) -> None:
        """Refuses images of a size that the network does not take.

        Raises:
            DataError: names both sizes.
        """
        size = self.architecture.fixed_size
        if size is not None and images.shape[2:] != (size, size):
            raise DataError(
                f"images are {tuple(images.shape)}, and {self.architecture.name} takes {size} x "
                f"{size} pixels alone; resize them"
            )


def make_layers(architecture: Architecture) -> dict[str, nn.Module]:
    """The torch modules of a network, by feature; a projector is not among them."""
    layers: dict[str, nn.Module] = _function(architecture.layers)(architecture)
    return layers


def build_projector(architecture: Architecture) -> nn.Module:
    """The layers between the representation and the projection.

    Raises:
        UsageError: the network has no projection.
    """
    architecture.dimension("projection")
    projector: nn.Module = _function(architecture.projector)(architecture)
    return projector


def _function(place: str) -> Callable[[Architecture], Any]:
    """What "module:function" names."""
    module, name = place.split(":")
    function: Callable[[Architecture], Any] = getattr(import_module(module), name)
    return function
