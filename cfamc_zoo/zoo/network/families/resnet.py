"""ResNets of any width with a projector on top, as they are trained here."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.network.families.architecture import Architecture, MemoryLayout

BACKBONE_BLOCKS: dict[str, tuple[Literal["basic", "bottleneck"], tuple[int, ...]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
}
STANDARD_WIDTH = 64
PARTS = {
    Fraction(1, 2): "half the usual width",
    Fraction(1, 4): "a quarter of the usual width",
    Fraction(1, 8): "an eighth of the usual width",
    Fraction(1, 16): "a sixteenth of the usual width",
    Fraction(2): "twice the usual width",
    Fraction(4): "four times the usual width",
}


@dataclass(frozen=True)
class ResNetArchitecture(Architecture):
    """A ResNet and the projector on top of it."""

    backbone: str = "resnet18"  # or resnet34, resnet50
    # cifar: 3x3, nothing lost of 32 pixels. imagenet: 7x7 and a pool, a quarter of the size.
    stem: Literal["cifar", "imagenet"] = "cifar"
    width: int = STANDARD_WIDTH  # channels of the first stage
    representation: int = 4096  # outputs of the first projector block
    projection: int = 1024  # outputs of the projector; what the loss sees

    family = "resnet"
    layers = "cfamc_zoo.zoo.network.resnet:make_layers"
    projector = "cfamc_zoo.zoo.network.resnet:make_projector"

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONE_BLOCKS:
            raise UnknownNameError("backbone", self.backbone, BACKBONE_BLOCKS)
        if self.stem not in ("cifar", "imagenet"):
            raise UnknownNameError("stem", self.stem, ("cifar", "imagenet"))
        for name in ("width", "representation", "projection"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 65536:
                raise UsageError(f"{name} is {value!r}; it must be a whole number in 1..65536")

    @property
    def name(self) -> str:
        return self.backbone

    @property
    def title(self) -> str:
        """ "ResNet-18 of a quarter of the usual width"."""
        name = re.sub(r"^resnet(\d+)$", r"ResNet-\1", self.backbone)
        width = Fraction(self.width, STANDARD_WIDTH)
        if width == 1:
            return name
        plain = f"width {self.width}, where {STANDARD_WIDTH} is usual"
        return f"{name} of {PARTS.get(width, plain)}"

    @property
    def details(self) -> tuple[str, ...]:
        return f"width {self.width}", f"{self.stem} stem"

    @property
    def features(self) -> int:
        """Width of the backbone's output."""
        expansion = 4 if BACKBONE_BLOCKS[self.backbone][0] == "bottleneck" else 1
        return 8 * self.width * expansion

    @property
    def dimensions(self) -> dict[str, int]:
        return {
            "backbone": self.features,
            "representation": self.representation,
            "projection": self.projection,
        }

    @property
    def activations(self) -> int:
        # The largest is that of the first stage: four times its width in a bottleneck.
        return 16 * self.width

    def layout(self, device: str) -> MemoryLayout:
        """Channels-last, but for networks of fewer than 8 channels on a CPU.

        There a channels-last training step corrupted the heap: at widths 2 and 4, not at 8 and
        16, with torch 2.14.1 on a processor with AVX2 alone. Which operation does it is not
        known. Such networks are for trying things out, and the plain layout serves them.
        """
        return "contiguous_format" if device == "cpu" and self.width < 8 else "channels_last"

    def to_json(self) -> dict[str, Any]:
        # Of the time when there was no other family: its configs do not name it.
        return asdict(self)
