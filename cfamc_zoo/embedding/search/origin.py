"""What made stored vectors, so that an image is turned into one in the very same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cfamc_zoo.embedding.job import describe
from cfamc_zoo.embedding.search.stored import StoredVectors
from cfamc_zoo.embedding.settings import Settings
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.network.spec import FEATURES
from cfamc_zoo.zoo.release.folder import Release

SHOWN = 12  # characters of a digest


@dataclass(frozen=True)
class Origin:
    """A release and which of its features the vectors are."""

    release: Release
    feature: str
    backend: str


def origin_of(
    vectors: StoredVectors,
    *,
    model: str | None = None,
    feature: str | None = None,
    open_model: Callable[[str], Release] = resolve,
) -> Origin:
    """The model that made the vectors.

    Args:
        vectors: their metadata names it, where their format has any.
        model: where that is found, or what made vectors without metadata.
        feature: of vectors without metadata; None is the backbone's.
        open_model: from a name, a folder or ORGANIZATION/NAME to a release.

    Raises:
        UsageError: nothing says which model, it is not to be had by that name, or what is given
            is another one than what made them.
    """
    said = vectors.metadata
    name, digest = said.get("model"), said.get("sha256")
    if model is None and (name is None or digest is None):
        raise UsageError(
            f"{str(vectors.path)!r} does not say which model made it; give -m, or rows of it, "
            "like row:0"
        )
    release = _opened(model or str(name), model is None, digest, open_model)
    if digest is not None and release.digest != digest:
        raise UsageError(
            f"{str(vectors.path)!r} was made by {name} (sha256 {digest[:SHOWN]}...), not by "
            f"{model or 'what is called so here'} ({release.digest[:SHOWN]}...); give -m with the "
            "release that made it, or embed again"
        )
    _check_preprocessing(vectors, release)
    wanted = _feature(vectors, feature)
    dimension = release.config.architecture.dimension(wanted)
    if dimension != vectors.dimension:
        raise UsageError(
            f"{str(vectors.path)!r} has vectors of {vectors.dimension} values, and the {wanted} of "
            f"{release.config.name} has {dimension}; give the model and feature that made it"
        )
    needs_torch = wanted == "projection" or said.get("backend") == "torch"
    return Origin(release, wanted, "torch" if needs_torch else "onnx")


def _opened(
    name: str, by_metadata: bool, digest: str | None, open_model: Callable[[str], Release]
) -> Release:
    try:
        return open_model(name)
    except UnknownNameError as error:
        if not by_metadata:
            raise
        raise UsageError(
            f"the vectors were made by {name!r} (sha256 {str(digest)[:SHOWN]}...), which is no "
            "model known here; give -m with its folder"
        ) from error


def _feature(vectors: StoredVectors, given: str | None) -> str:
    if given is not None and given not in FEATURES:
        raise UnknownNameError("feature", given, FEATURES)
    said = vectors.metadata.get("feature")
    if given is not None and said is not None and given != said:
        raise UsageError(
            f"{str(vectors.path)!r} holds the {said}, not the {given}; leave --features away"
        )
    return said or given or "backbone"


def _check_preprocessing(vectors: StoredVectors, release: Release) -> None:
    said = vectors.metadata.get("preprocessing")
    if said is None:
        return
    if said != describe(release, Settings())["preprocessing"]:
        raise UsageError(
            f"{str(vectors.path)!r} was made with another preprocessing of images than this "
            f"version's ({said}); embed again"
        )
