"""What several commands ask of a release: its data and its classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cfamc_zoo.datasets import SAMPLES, LabelledImages, load_dataset
from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.weights import Release, load_encoder, load_probe

if TYPE_CHECKING:
    from cfamc_zoo.zoo.classifier import Classifier


def data_of(release: Release, name: str | None) -> LabelledImages:
    """The named test images, or the bundled sample of what the model was trained on."""
    if name is None:
        name = f"{release.config.recipe.get('data', '')}".removesuffix("-sample") + "-sample"
        if name not in SAMPLES:
            raise UsageError(f"model {release.config.name!r} has no bundled sample; give --data")
    return load_dataset(name, "test")


def classifier_of(release: Release, probe: Path | None) -> Classifier:
    """The release with its own head, or with the one in the file `probe`."""
    from cfamc_zoo.zoo.classifier import attach_probe

    if probe is None:
        return load_probe(release)
    if not probe.is_file():
        raise UsageError(f"probe {str(probe)!r} is not a file; make one with `cfamc-zoo probe`")
    return attach_probe(load_encoder(release), probe.read_bytes(), str(probe))
