"""The encoder that a student learns from: a release, frozen and in evaluation mode."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import numpy as np
import torch

from cfamc_zoo.errors import UsageError
from cfamc_zoo.training.features import Features, steps_to
from cfamc_zoo.training.recipe import Recipe
from cfamc_zoo.training.start import check_family
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.release.folder import PROJECTOR
from cfamc_zoo.zoo.release.loading import load_encoder

HEAD = ("representation", "projector")  # parts of an encoder behind its backbone
LOOKED_AT = 16  # images, to see whether a teacher tells them apart
CONSTANT = 1e-6  # of the largest value: differences that are rounding


@dataclass(frozen=True)
class Teacher:
    """A teacher, and which release it is.

    Attributes:
        sha256: the release's digest, by which a run is bound to it.
    """

    encoder: Encoder
    name: str
    sha256: str

    def record(self) -> dict[str, str]:
        """What a checkpoint and a release tell of it."""
        return {"name": self.name, "sha256": self.sha256}

    def hand_over(self, student: Encoder, trained: tuple[str, ...]) -> None:
        """Puts copies of its own layers where the student's are not trained."""
        for part in HEAD:
            if part not in trained:
                setattr(student, part, copy.deepcopy(getattr(self.encoder, part)))

    def refuse_constant(self, wanted: tuple[str, ...], images: np.ndarray) -> None:
        """Refuses to teach the same of every image.

        Args:
            images: (N, S, S, 3) uint8, a few.
        """
        pixels = torch.from_numpy(np.array(images[:LOOKED_AT])).movedim(-1, 1).float() / 255
        with torch.no_grad():
            features = Features(self.encoder.cpu(), wanted)(pixels)
        for name, z in zip(wanted, features, strict=True):
            if (z - z[:1]).abs().max() <= CONSTANT * z.abs().max():
                raise UsageError(
                    f"teacher {self.name!r} gives the same {name} for all of {len(z)} images; "
                    "--set teacher=... to one that was trained"
                )


def teacher_for(recipe: Recipe) -> Teacher | None:
    """The release that the recipe names as its teacher; None for an objective without one.

    Raises:
        UsageError: none is named, or one of another family or with features of another size, or
            one without a projector where that is read.
        ZooError: as `resolve` and `load_encoder`.
    """
    wanted = recipe.objective.taught
    if not wanted:
        return None
    if not recipe.teacher:
        raise UsageError(no_teacher(recipe))
    release = resolve(recipe.teacher)
    theirs = release.config.architecture
    check_family(recipe.teacher, theirs, recipe.encoder)
    sizes = recipe.encoder.dimensions
    differing = {k: n for k, n in theirs.dimensions.items() if sizes[k] != n}
    if differing:
        has = ", ".join(f"{k} {n} where the recipe has {sizes[k]}" for k, n in differing.items())
        keys = [
            key for key, value in asdict(theirs).items() if asdict(recipe.encoder)[key] != value
        ]
        settings = " ".join(f"--set encoder.{key}={asdict(theirs)[key]}" for key in keys)
        raise UsageError(f"teacher {recipe.teacher!r} has features of {has}; {settings}")
    if "embedding" in steps_to(wanted) and not release.has(PROJECTOR):
        raise UsageError(
            f"teacher {recipe.teacher!r} has no {PROJECTOR}, which {recipe.objective.kind} reads; "
            "--set teacher=... to a release that has one"
        )
    return Teacher(load_encoder(release), release.config.name, release.digest)


def no_teacher(recipe: Recipe) -> str:
    """What is said of a recipe that has to have a teacher and has none."""
    return f"recipe {recipe.name!r} needs a teacher; --set teacher=MODEL or a release's folder"
