"""What every objective says of itself, so that the engine asks and never decides.

V views of B images; a feature of them is (V, B, D) float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Scored = tuple[Tensor, dict[str, Tensor]]  # a loss, and its parts by name
Look = Callable[[Tensor], tuple[Tensor, ...]]  # crops to the student's features of them
Climb = Callable[[Tensor], Tensor]  # perturbed crops to what an adversary maximizes


@dataclass(frozen=True)
class Roles:
    """Which of the views are for what; one view can have several roles.

    Attributes:
        clean: the student sees these as they are.
        perturbed: the student sees these with a perturbation.
        taught: the teacher sees these as they are.
    """

    clean: slice
    perturbed: slice
    taught: slice


class Objective:
    """What training minimizes. An objective is a frozen dataclass of settings.

    Attributes:
        kind: its name in a recipe.
        method: its name in a card.
        views: how many it takes; None is any from `fewest_views` up.
        features: of the student, in the order in which `loss` takes them; see
            `training.features`.
        taught: features of the teacher, which `loss` takes after the student's; none without one.
        trained: parts of the encoder; the others are the teacher's and stay as they are.
        clean_views: so many of the first views no adversary touches.
        loss: from features to the loss and its parts. Each is (V, B, D), the clean views first,
            then the perturbed ones.
    """

    kind: str
    method: str
    views: int | None = None
    fewest_views: int = 2
    features: tuple[str, ...] = ("projection",)
    taught: tuple[str, ...] = ()
    trained: tuple[str, ...] = ("backbone", "representation", "projector")
    clean_views: int = 0
    loss: Callable[..., Scored]

    def roles(self, views: int) -> Roles:
        """Who sees which of `views` views."""
        clean = self.clean_views
        return Roles(slice(0, clean), slice(clean, views), slice(0, 0))

    def attack(self, look: Look, crops: Tensor, *taught: Tensor) -> Climb:
        """What an adversary maximizes, as a function of the perturbed crops.

        Where views stay clean, a crop's copy is driven away from the crop itself, as SimCLR's
        attack does; else the views are driven apart as training draws them together.

        Args:
            look: the student as it is.
            crops: those that are perturbed, before.
            taught: the teacher's features.
        """
        origin = crops if self.clean_views else crops[:0]
        return lambda perturbed: self.loss(*look(torch.cat((origin, perturbed))), *taught)[0]


class Taught(Objective):
    """A student's backbone learns from a teacher's, image by image: of one view, clean and
    perturbed, and from the clean one the teacher's. The layers behind it are the teacher's."""

    views = 1
    fewest_views = 1
    features: tuple[str, ...] = ("backbone",)
    taught: tuple[str, ...] = ("backbone",)
    trained: tuple[str, ...] = ("backbone",)

    def roles(self, views: int) -> Roles:
        one = slice(0, 1)
        return Roles(one, one, one)
