"""Features of one forward pass, as many of them as an objective reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.zoo.network.encoder import Encoder

# In the order in which they are made, each from the one before. The embedding is the projection
# before it is normalized.
STEPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "backbone": lambda encoder, images: encoder(images),
    "representation": lambda encoder, x: encoder.representation(x),
    "embedding": lambda encoder, x: encoder.projector(x),
    "projection": lambda encoder, x: F.normalize(x, dim=1),
}


class Features(nn.Module):
    """An encoder that gives several features of the same images.

    Args:
        encoder: with all parts that the features need.
        wanted: names out of `STEPS`.
    """

    def __init__(self, encoder: Encoder, wanted: tuple[str, ...]):
        super().__init__()
        self.encoder, self.wanted = encoder, wanted
        self.steps = steps_to(wanted)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, S, S) in [0, 1] to (N, D) of each wanted feature, in that order."""
        made: dict[str, Tensor] = {}
        x = images
        for name in self.steps:
            x = made[name] = STEPS[name](self.encoder, x)
        return tuple(made[name] for name in self.wanted)


def steps_to(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The features that must be made for these."""
    names = tuple(STEPS)
    return names[: 1 + max(map(names.index, wanted))]
