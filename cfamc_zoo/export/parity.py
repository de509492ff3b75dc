"""How far torch and ONNX Runtime are apart, and the rows that say so."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

import numpy as np
import torch

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.images.preprocess import fit_all, to_input
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import Release
from cfamc_zoo.zoo.release.loading import load_encoder
from cfamc_zoo.zoo.release.results import Row, row_of

# Float32 sums in another order; measured values are some hundred times smaller.
RELATIVE_LIMIT = 1e-4

# Images are compared up to as many pixels as 256 small ones have, but no fewer than 16: at 224
# pixels a side 256 would take minutes, and gigabytes of activations.
COMPARED_PIXELS, COMPARED_LEAST = 256 * 32 * 32, 16

PROTOCOL = "features of the same images by torch and by ONNX Runtime"


def measure_parity(release: Release, images: np.ndarray) -> dict[str, Parity]:
    """`find_parity`, refused where it is over the limit.

    Args:
        images: (N, H, W, 3) uint8; the first of them that `sized` takes.

    Raises:
        ReleaseError: over 1e-4 of the feature's largest value.
    """
    found = find_parity(release, images)
    for feature, parity in found.items():
        if not parity.relative <= RELATIVE_LIMIT:
            raise ReleaseError(
                f"{feature} of {release.config.name!r} differs by {parity.relative:.1e} between "
                f"torch and ONNX Runtime, over {RELATIVE_LIMIT:g}; not released"
            )
    return found


def find_parity(release: Release, images: np.ndarray) -> dict[str, Parity]:
    """Largest difference between torch and ONNX Runtime, by feature.

    Args:
        images: (N, H, W, 3) uint8; the first of them that `sized` takes.

    Raises:
        ReleaseError: the weights or the graph cannot be used.
    """
    x = sized(images, release.config.preprocess)
    encoder = load_encoder(release)
    result = {}
    for feature in release.config.architecture.graph_features:
        with torch.no_grad():
            reference = encoder(torch.from_numpy(x), feature).numpy()
        result[feature] = compare(reference, open_session(release, feature)(x))
    return result


def parity_rows(release: Release, images: np.ndarray, *, data: str) -> list[Row]:
    """`measure_parity` as rows of results.json, two a feature.

    The limit is one, 1e-4 of the feature's largest value; the absolute row has it in the
    feature's own unit.

    Args:
        images: (N, H, W, 3) uint8.
        data: name of the set whose first N images these are.

    Raises:
        ReleaseError: as `measure_parity`.
    """
    here = environment(torch.device("cpu"))
    command = f"cfamc-zoo export {quote(release.config.name)} -o again --json"
    rows = []
    for feature, parity in measure_parity(release, images).items():
        for kind, value, limit in (
            ("absolute", parity.absolute, RELATIVE_LIMIT * parity.largest),
            ("relative", parity.relative, RELATIVE_LIMIT),
        ):
            measured = {
                "metric": f"largest {kind} difference",
                "feature": feature,
                "data": data,
                "n": parity.images,
                "value": value,
                "limit": limit,
            }
            rows.append(row_of(measured, protocol=PROTOCOL, command=command, here=here))
    return rows


def sized(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """(N, H, W, 3) uint8 of any size as the model's input, (n, 3, S, S) float32 in [0, 1].

    The first n, as many as are compared at that size.
    """
    images = images[: max(COMPARED_LEAST, COMPARED_PIXELS // preprocess.size**2)]
    return to_input(fit_all(images, preprocess))


@dataclass(frozen=True)
class Parity:
    """Largest differences between two back ends over the same images."""

    absolute: float
    relative: float  # to the largest value of the feature
    largest: float
    images: int


def compare(reference: np.ndarray, other: np.ndarray) -> Parity:
    """How far two (N, D) arrays of the same features are apart."""
    difference = float(np.abs(reference - other).max())
    largest = max(float(np.abs(reference).max()), 1e-12)
    return Parity(difference, difference / largest, largest, len(reference))
