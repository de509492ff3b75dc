"""Threat models: a norm and a radius, and all that depends on the norm, for training and attacks.

A new norm is a class here and its name in `NORMS`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from cfamc_zoo.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

LONGEST, LARGEST = 100, 40  # characters and digits: 1e999999999 would take for ever
Length = Annotated[float, "in pixel units of [0, 1]"]  # of a step: written like a radius
ROUNDS = 40  # of Newton's method, at most; about ten are usual
CLOSE = 1e-6  # of what is missing, relative: near enough


@dataclass(frozen=True)
class Threat(ABC):
    """All perturbations of at most `eps` in one norm, images kept in [0, 1].

    Attributes:
        eps: the radius, in pixel units of [0, 1].
        text: the radius as it was given, "8/255"; of a bare number its shortest text.
        norm: its name, as the command line and results have it.
        meaning: the norm in words.
    """

    eps: float
    text: str = ""
    norm: ClassVar[str]
    meaning: ClassVar[str]

    def __post_init__(self) -> None:
        if not self.text:
            object.__setattr__(self, "text", str(self.eps))

    @classmethod
    def of(cls, text: str) -> Self:
        """The ball whose radius is written so.

        Raises:
            UsageError: an impossible radius.
        """
        return cls(cls.length(text), text.strip())

    @classmethod
    def length(cls, text: str, *, what: str = "epsilon") -> float:
        """A radius or a step in pixel units of [0, 1]: "8/255", "0.5/255", "0.031" or "1e-3".

        Where a change of an image can be larger than 1, as in L2, a length over 1 is taken when
        it is written as a fraction or with a decimal point, "3.0".

        Args:
            text: as it was given.
            what: names it in an error.

        Raises:
            UsageError: not a number, negative, or over 1 (8 is taken for a forgotten "/255").
        """
        written = text.strip()
        value = _number(written)
        if value is None:
            raise UsageError(
                f"{what} {text!r} is not a number; write a fraction or a decimal, like 8/255 or "
                "0.031"
            )
        if value < 0:
            raise UsageError(f"{what} {text!r} is negative; it must be in 0..1, like 8/255")
        larger = cls.reach(2) > 1
        if value <= 1 or (larger and ("/" in written or "." in written)):
            return float(value)
        short = value <= 255 and "/" not in written
        hint = f"did you mean {written}/255?" if short else "like 8/255"
        if larger:
            taken = f"n {cls.norm}, write {float(value)} if that is meant"
            hint = f"{hint} I{taken}" if short else f"i{taken}"
        raise UsageError(f"{what} {text!r} is over 1, the whole pixel range [0, 1]; {hint}")

    def everything(self, count: int) -> Self:
        """The ball that holds every change of an image of `count` values."""
        return self.of(f"{self.reach(count):.6f}")

    def step_size(self, steps: int) -> float:
        """Length of a step where nobody says: so many steps can cross the ball."""
        return 2.5 * self.eps / steps

    def project(self, images: Tensor, delta: Tensor) -> Tensor:
        """An allowed perturbation near `delta`: brought into the ball, then clipped to the image.

        Both hold afterwards, since clipping only shortens. In L-infinity this is the nearest one;
        where another ball is cut by [0, 1] it is not, but it is what AutoAttack uses.

        Args:
            images: (N, C, H, W) in [0, 1].
            delta: same shape.

        Returns:
            Same shape, of size at most eps and so that images + delta is in [0, 1].
        """
        return (images + self.shorten(delta)).clamp(0, 1) - images

    @staticmethod
    @abstractmethod
    def reach(count: int) -> float:
        """Size of the largest change of `count` values in [0, 1]: of each by 1."""

    @abstractmethod
    def shorten(self, delta: Tensor) -> Tensor:
        """The nearest perturbation in the ball, whatever the image; (N, ...)."""

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of size 1 along which a function with this gradient rises most.

        (N, ...); zero where the gradient is.
        """

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """(N,) norms of (N, ...) perturbations."""

    @abstractmethod
    def random_inside(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """A perturbation of one image, float64, uniform in the ball."""

    @abstractmethod
    def random_direction(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """A perturbation of one image, float64, of any size: scaled, it is on the surface."""

    @abstractmethod
    def moves(self, weight: Tensor, room: Tensor, missing: Tensor) -> Tensor:
        """The smallest moves of values that add up to what is missing.

        Args:
            weight: (N, P) at least 0, what a value adds for each unit that it moves.
            room: (N, P) at least 0, how far it can move.
            missing: (N,) at least 0.

        Returns:
            (N, P) in 0..room with (weight * moves).sum(1) = missing, of the least size; the room
            of all that add, where even that is too little.
        """


@dataclass(frozen=True)
class Linf(Threat):
    """All perturbations of at most `eps` in every pixel and channel."""

    norm = "linf"
    meaning = "L-infinity: the largest change of any value of the image"

    @staticmethod
    def reach(count: int) -> float:
        return 1.0

    def shorten(self, delta: Tensor) -> Tensor:
        return delta.clamp(-self.eps, self.eps)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def size(self, delta: Tensor) -> Tensor:
        return delta.abs().flatten(1).amax(1)

    def random_inside(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return generator.uniform(-self.eps, self.eps, shape)

    def random_direction(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Uniform in the cube, as AutoAttack draws it."""
        return generator.uniform(-1, 1, shape)

    def moves(self, weight: Tensor, room: Tensor, missing: Tensor) -> Tensor:
        """All that add move alike."""
        return _together((weight > 0).to(weight), weight, room, missing)


@dataclass(frozen=True)
class L2(Threat):
    """All perturbations of at most `eps` in Euclidean length."""

    norm = "l2"
    meaning = "L2: the Euclidean length of the whole change"

    @staticmethod
    def reach(count: int) -> float:
        return math.sqrt(count)

    def shorten(self, delta: Tensor) -> Tensor:
        length = self.size(delta).clamp_min(1e-12).view(-1, *[1] * (delta.ndim - 1))
        return delta * (self.eps / length).clamp_max(1)

    def steepest(self, gradient: Tensor) -> Tensor:
        length = self.size(gradient).view(-1, *[1] * (gradient.ndim - 1))
        return gradient / (length + 1e-12)

    def size(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).norm(dim=1)

    def random_inside(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        import numpy as np

        direction = generator.standard_normal(shape)
        radius = self.eps * generator.random() ** (1 / direction.size)
        return direction * (radius / np.linalg.norm(direction))

    def random_direction(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        return generator.standard_normal(shape)

    def moves(self, weight: Tensor, room: Tensor, missing: Tensor) -> Tensor:
        """Each moves in proportion to its weight."""
        return _together(weight, weight, room, missing)


NORMS: dict[str, type[Threat]] = {kind.norm: kind for kind in (Linf, L2)}


def norm_called(name: str) -> type[Threat]:
    """The norm of that name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in NORMS:
        raise UnknownNameError("norm", name, NORMS)
    return NORMS[name]


def threat_of(norm: str, eps: str) -> Threat:
    """The ball of that norm and radius, as both are given on the command line.

    Raises:
        UnknownNameError: an unknown norm.
        UsageError: an impossible radius.
    """
    return norm_called(norm).of(eps)


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


def _together(pace: Tensor, weight: Tensor, room: Tensor, missing: Tensor) -> Tensor:
    """As `Threat.moves`, where all values start at once, each at its own pace, until its room ends.

    What all have added after time t is piecewise linear and concave in t, so Newton's method from
    t = 0 rises to the solution and never passes it.
    """
    time = missing.new_zeros(len(missing), 1)
    for _ in range(ROUNDS):
        moving = pace * time < room
        added = (weight * (pace * time).minimum(room)).sum(1)
        left = missing - added
        rate = (weight * pace * moving).sum(1)
        if not bool(((left > CLOSE * missing) & (rate > 0)).any()):
            break
        time = time + (left.clamp_min(0) / rate.clamp_min(1e-30)).where(rate > 0, 0)[:, None]
    # Where all the room could not make it up, the rate fell to 0 and all are at their ends.
    return (pace * time).minimum(room)
