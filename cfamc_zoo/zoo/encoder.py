"""The network: a ResNet backbone, the representation layer and, where present, the projector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck

from cfamc_zoo.errors import DataError, UnknownNameError, UsageError
from cfamc_zoo.zoo.spec import (
    BACKBONE_BLOCKS,
    FEATURES,
    Architecture,
    Preprocess,
    ReleaseConfig,
)


class ResNet(nn.Module):
    """torchvision's ResNet without its classifier, of any width and with either stem.

    The blocks are torchvision's own and the parameter names are the same, so at width 64
    state dicts pass between the two. The CIFAR stem is a 3x3 stride-1 convolution and no
    max-pool; the ImageNet stem is torchvision's.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        kind, depths = BACKBONE_BLOCKS[architecture.backbone]
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock if kind == "basic" else Bottleneck
        width = architecture.width
        self.channels = width
        if architecture.stem == "cifar":
            self.conv1 = nn.Conv2d(3, width, 3, stride=1, padding=1, bias=False)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(block, width, depths[0], stride=1)
        self.layer2 = self._stage(block, 2 * width, depths[1], stride=2)
        self.layer3 = self._stage(block, 4 * width, depths[2], stride=2)
        self.layer4 = self._stage(block, 8 * width, depths[3], stride=2)
        for module in self.modules():  # torchvision's initialization
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(
        self, block: type[BasicBlock] | type[Bottleneck], planes: int, depth: int, stride: int
    ) -> nn.Sequential:
        outputs = planes * block.expansion
        downsample = None
        if stride != 1 or self.channels != outputs:
            downsample = nn.Sequential(
                nn.Conv2d(self.channels, outputs, 1, stride=stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        # torchvision's Bottleneck widens by base_width / 64 of a 64-channel plane, so plain
        # planes are all either block needs.
        blocks = [block(self.channels, planes, stride, downsample)]
        self.channels = outputs
        blocks += [block(outputs, planes) for _ in range(1, depth)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))


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
        self.config: ReleaseConfig | None = None  # of the release that it was loaded from

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
