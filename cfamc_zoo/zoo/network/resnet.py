"""torchvision's residual networks without their classifier, and the projector on top of them."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from cfamc_zoo.zoo.network.families.resnet import BACKBONE_BLOCKS, ResNetArchitecture


class ResNet(nn.Module):
    """torchvision's ResNet without its classifier, of any width and with either stem.

    The blocks are torchvision's own and the parameter names are the same, so at width 64
    state dicts pass between the two. The CIFAR stem is a 3x3 stride-1 convolution and no
    max-pool; the ImageNet stem is torchvision's.
    """

    def __init__(self, architecture: ResNetArchitecture):
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


def projector_block(inputs: int, outputs: int) -> nn.Sequential:
    """Linear + BatchNorm + ReLU."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))


def make_projector(architecture: ResNetArchitecture) -> nn.Sequential:
    """The projector's layers behind the representation: block, then Linear to the projection."""
    return nn.Sequential(
        projector_block(architecture.representation, architecture.representation),
        nn.Linear(architecture.representation, architecture.projection),
    )


def make_layers(architecture: ResNetArchitecture) -> dict[str, nn.Module]:
    """Backbone and representation; a projector is not in every release."""
    return {
        "backbone": ResNet(architecture),
        "representation": projector_block(architecture.features, architecture.representation),
    }
