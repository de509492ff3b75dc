"""Threat models: a norm and a radius that know how to project. Training and attacks share them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from cfamc_zoo.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = ("linf", "l2")


LONGEST, LARGEST = 100, 40  # characters and digits: 1e999999999 would take for ever


def parse_epsilon(text: str, norm: str = "linf", *, what: str = "epsilon") -> float:
    """A radius in pixel units of [0, 1]: "8/255", "0.5/255", "0.031" or "1e-3".

    In the L2 norm, where large images have radii over 1, those are taken when written as a
    fraction or with a decimal point, "3.0".

    Args:
        text: as it was given.
        norm: "linf" or "l2".
        what: names it in an error.

    Raises:
        UsageError: not a number, negative, or over 1 (8 is taken for a forgotten "/255").
    """
    written = text.strip()
    value = _number(written)
    if value is None:
        raise UsageError(
            f"{what} {text!r} is not a number; write a fraction or a decimal, like 8/255 or 0.031"
        )
    if value < 0:
        raise UsageError(f"{what} {text!r} is negative; it must be in 0..1, like 8/255")
    if value <= 1 or (norm == "l2" and ("/" in written or "." in written)):
        return float(value)
    hint = f"did you mean {written}/255?" if value <= 255 and "/" not in written else "like 8/255"
    if norm == "l2":
        taken = f"n l2, write {float(value)} if that is meant"
        hint = f"{hint} I{taken}" if hint.endswith("?") else f"i{taken}"
    raise UsageError(f"{what} {text!r} is over 1, the whole pixel range [0, 1]; {hint}")


def _number(text: str) -> Fraction | None:
    """A decimal or the fraction of two, exactly; None where it is none."""
    parts = text.split("/")
    if len(text) > LONGEST or len(parts) > 2:
        return None
    try:
        for part in parts:
            if abs(Decimal(part.strip()).adjusted()) > LARGEST:
                return None
        numbers = [Fraction(part.strip()) for part in parts]
        return numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0]
    except (ValueError, ArithmeticError):
        return None


@dataclass(frozen=True)
class Linf:
    """All perturbations of at most `eps` in every pixel and channel, images kept in [0, 1]."""

    eps: float
    norm: Norm = "linf"

    def project(self, images: Tensor, delta: Tensor) -> Tensor:
        """The nearest allowed perturbation.

        Args:
            images: (N, C, H, W) in [0, 1].
            delta: same shape.

        Returns:
            delta clipped to [-eps, eps] and so that images + delta is in [0, 1].
        """
        delta = delta.clamp(-self.eps, self.eps)
        return (images + delta).clamp(0, 1) - images

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of unit norm along which a function with this gradient rises most."""
        return gradient.sign()

    def size(self, delta: Tensor) -> Tensor:
        """(N,) norms of (N, ...) perturbations."""
        return delta.abs().flatten(1).amax(1)


@dataclass(frozen=True)
class L2:
    """All perturbations of at most `eps` in Euclidean length, images kept in [0, 1]."""

    eps: float
    norm: Norm = "l2"

    def project(self, images: Tensor, delta: Tensor) -> Tensor:
        """An allowed perturbation near `delta`: shortened to eps, then clipped to the image.

        Both hold afterwards, since clipping only shortens. Where the ball is cut by [0, 1] this
        is not the nearest one, but it is the projection that AutoAttack uses.
        """
        length = self.size(delta).clamp_min(1e-12).view(-1, *[1] * (delta.ndim - 1))
        delta = delta * (self.eps / length).clamp_max(1)
        return (images + delta).clamp(0, 1) - images

    def steepest(self, gradient: Tensor) -> Tensor:
        """The gradient at unit length; zero where it is zero."""
        length = self.size(gradient).view(-1, *[1] * (gradient.ndim - 1))
        return gradient / (length + 1e-12)

    def size(self, delta: Tensor) -> Tensor:
        """(N,) norms of (N, ...) perturbations."""
        return delta.flatten(1).norm(dim=1)


Threat = Linf | L2


def threat_of(norm: str, eps: str) -> Threat:
    """The ball of that norm and radius, as both are given on the command line.

    Raises:
        UnknownNameError: another norm than "linf" or "l2".
        UsageError: an impossible radius.
    """
    if norm not in NORMS:
        raise UnknownNameError("norm", norm, NORMS)
    radius = parse_epsilon(eps, norm)
    return Linf(radius) if norm == "linf" else L2(radius)
