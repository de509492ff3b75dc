"""Threat models: a norm and a radius that know how to project. Training and attacks share them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from cfamc_zoo.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


def parse_epsilon(text: str) -> float:
    """A radius in pixel units of [0, 1]: "8/255" or "0.031".

    Raises:
        UsageError: not a number, negative, or over 1 (8 is taken for a forgotten "/255").
    """
    try:
        value = Fraction(text.strip())
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"epsilon {text!r} is not a number; write a fraction or a decimal, like 8/255 or 0.031"
        ) from error
    if value < 0:
        raise UsageError(f"epsilon {text!r} is negative; it must be in 0..1, like 8/255")
    if value > 1:
        hint = f"did you mean {text.strip()}/255?" if value <= 255 else "like 8/255"
        raise UsageError(f"epsilon {text!r} is over 1, the whole pixel range [0, 1]; {hint}")
    return float(value)


@dataclass(frozen=True)
class Linf:
    """All perturbations of at most `eps` in every pixel and channel, images kept in [0, 1]."""

    eps: float
    norm: str = "linf"

    def project(self, images: Tensor, delta: Tensor) -> Tensor:
        """The nearest allowed perturbation.

        Args:
            images: (N, 3, H, W) in [0, 1].
            delta: same shape.

        Returns:
            delta clipped to [-eps, eps] and so that images + delta is in [0, 1].
        """
        delta = delta.clamp(-self.eps, self.eps)
        return (images + delta).clamp(0, 1) - images
