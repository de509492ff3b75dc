"""Going on from a release: its weights in place of random ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cfamc_zoo.errors import UsageError
from cfamc_zoo.training.recipe import Recipe
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.architecture import Architecture
from cfamc_zoo.zoo.release.loading import load_encoder


@dataclass(frozen=True)
class Start:
    """What a run starts from, and where that came from.

    Attributes:
        origin: the release's name and digest, what it lacked and starts anew, and the batches
            and seconds of training behind it, those of its own origin included.
    """

    encoder: Encoder
    origin: dict[str, Any]


def start_from(name: str, recipe: Recipe) -> Start:
    """The release of that name, as the recipe's first weights.

    Args:
        name: a model, a release folder or a Hub repository.

    Raises:
        UsageError: its network is another than the recipe's.
        ZooError: as `resolve` and `load_encoder`.
    """
    release = resolve(name)
    check_family(name, release.config.architecture, recipe.encoder)
    theirs, ours = asdict(release.config.architecture), asdict(recipe.encoder)
    differing = [key for key in ours if theirs[key] != ours[key]]
    if differing:
        has = ", ".join(f"{key} {theirs[key]}" for key in differing)
        settings = " ".join(f"--set encoder.{key}={theirs[key]}" for key in differing)
        raise UsageError(f"{name!r} has {has}, not what the recipe has; {settings}")
    encoder = load_encoder(release)
    lacks = encoder.projector is None and "projector" in recipe.objective.trained
    anew = ["projector"] if lacks else []
    before = release.config.provenance
    earlier = before.get("from", {})
    origin = {
        "name": release.config.name,
        "sha256": release.digest,
        "started_anew": anew,
        "steps": before.get("steps", 0) + earlier.get("steps", 0),
        "seconds": before.get("seconds", 0) + earlier.get("seconds", 0),
    }
    return Start(encoder, origin)


def check_family(name: str, theirs: Architecture, ours: Architecture) -> None:
    """Refuses a release whose network is of another family than the recipe's.

    Raises:
        UsageError: it is.
    """
    if not isinstance(theirs, type(ours)):
        raise UsageError(
            f"{name!r} is of the family {theirs.family}, and training makes {ours.family}; give a "
            "release of that family"
        )
