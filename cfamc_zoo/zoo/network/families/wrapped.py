"""A module that somebody else built: what is known of it, so that it is measured as any encoder.

It is none of `known.FAMILIES`: no config.json can describe it, so no release can hold it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cfamc_zoo.zoo.network.families.architecture import Architecture, MemoryLayout


@dataclass(frozen=True)
class WrappedArchitecture(Architecture):
    """Somebody's module.

    Attributes:
        module: the name of its class.
        features: values that it gives of an image.
        input_size: pixels a side of its input.
    """

    module: str
    features: int
    input_size: int

    family = "wrapped"
    layers = ""  # there is no recipe that makes them

    @property
    def name(self) -> str:
        return self.module

    @property
    def title(self) -> str:
        return f"the module {self.module}"

    @property
    def details(self) -> tuple[str, ...]:
        return (f"{self.input_size} x {self.input_size} pixels",)

    @property
    def dimensions(self) -> dict[str, int]:
        return {"backbone": self.features}

    @property
    def activations(self) -> int:
        return 256  # as of timm's networks: nobody knows

    @property
    def fixed_size(self) -> int:
        return self.input_size

    def layout(self, device: str) -> MemoryLayout:
        """Its own: it may `view` what it computes."""
        return "contiguous_format"
