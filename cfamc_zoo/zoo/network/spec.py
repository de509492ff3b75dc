"""What a model is, as plain data: no torch, no files, no network."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cfamc_zoo.errors import UnknownNameError, UsageError

Feature = Literal["backbone", "representation", "projection"]
Interpolation = Literal["bicubic", "bilinear"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("bicubic", "bilinear")
FEATURES: tuple[Feature, ...] = ("backbone", "representation", "projection")


@dataclass(frozen=True)
class Preprocess:
    """How any image becomes the model's input: RGB in [0, 1], `size` x `size` pixels."""

    size: int = 32
    resize: Literal["shorter-side"] = "shorter-side"  # then a centre crop
    interpolation: Interpolation = "bicubic"  # Pillow's, with its antialiasing
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # a layer of the model, not of the input
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop: float = 1.0  # the part of the resized shorter side that the crop keeps

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= 4096:
            raise UsageError(f"size is {self.size!r}; it must be a whole number in 1..4096")
        if self.resize != "shorter-side":
            raise UnknownNameError("resize", str(self.resize), ["shorter-side"])
        if self.interpolation not in INTERPOLATIONS:
            raise UnknownNameError("interpolation", str(self.interpolation), INTERPOLATIONS)
        if type(self.crop) not in (int, float) or not 0.1 <= self.crop <= 1:
            raise UsageError(f"crop is {self.crop!r}; it must be a number in 0.1..1")
        for name in ("mean", "std"):
            values = tuple(getattr(self, name))
            if len(values) != 3 or not all(type(v) in (int, float) for v in values):
                raise UsageError(f"{name} is {values!r}; it must be three numbers")
            if not all(abs(v) <= 1000 for v in values):
                raise UsageError(f"{name} is {values!r}; it must be within -1000..1000")
            object.__setattr__(self, name, values)
        if not all(v >= 1e-3 for v in self.std):
            raise UsageError(f"std is {self.std!r}; it must be 0.001 or more")

    @property
    def shorter_side(self) -> int:
        """Pixels that an image's shorter side is resized to; its centre becomes the input."""
        return math.floor(self.size / self.crop)

    def to_json(self) -> dict[str, Any]:
        """Of fields; the crop only where there is one: older configs do not know it."""
        values = asdict(self)
        if self.crop == 1:
            del values["crop"]
        return values
