"""The paper's multi-crop embedding: the mean of an image's features over several crops."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.network.boxes import Boxes, draw_boxes, resized_crop
from cfamc_zoo.zoo.network.encoder import Encoder, check_images
from cfamc_zoo.zoo.network.families.architecture import Architecture


@dataclass(frozen=True)
class CropPlan:
    """Which crops an embedding is the mean of.

    The boxes are drawn once, from the seed, and are the same for every image, so that an
    image's vector depends on the image alone. The paper's code draws them anew for every image
    and also distorts colours.

    Attributes:
        count: crops an image.
        scale: least and largest area, as a part of the image's.
        ratio: least and largest width over height.
        seed: of the boxes.
    """

    count: int
    scale: tuple[float, float]
    ratio: tuple[float, float]
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 1 <= self.count <= 1024:
            raise UsageError(f"{self.count!r} crops; it must be 1..1024")
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise UsageError(f"seed of crops is {self.seed!r}; it must be 0..2^63 - 1")
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1000:
                raise UsageError(f"{name} of crops is {low:g}, {high:g}; 0 < low <= high <= 1000")
            object.__setattr__(self, name, (float(low), float(high)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class MultiCrop(nn.Module):
    """An encoder whose features are means over the crops of a plan.

    Deterministic and differentiable, so that it is attacked as what it is: one function.
    Source: EMP-SSL (arXiv 2304.03977), section 3; CF-AMC-SSL (arXiv 2501.03507).
    """

    def __init__(self, encoder: Encoder, plan: CropPlan):
        super().__init__()
        self.encoder, self.plan = encoder, plan

    @property
    def architecture(self) -> Architecture:
        return self.encoder.architecture

    def forward(self, images: Tensor, feature: str = "backbone") -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, D), as `Encoder.forward`."""
        check_images(images)  # before .float() would take bytes for floats
        n, plan = len(images), self.plan
        boxes = draw_boxes(
            plan.count,
            *images.shape[-2:],
            scale=plan.scale,
            ratio=plan.ratio,
            generator=torch.Generator().manual_seed(plan.seed),
        )
        # Crop c of image i at c * n + i.
        repeated = {
            f.name: getattr(boxes, f.name).repeat_interleave(n).to(images.device)
            for f in fields(Boxes)
        }
        crops = resized_crop(images.float().repeat(plan.count, 1, 1, 1), Boxes(**repeated))
        return self.encoder(crops, feature).unflatten(0, (plan.count, n)).mean(0)
