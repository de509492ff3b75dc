"""How far torch and ONNX Runtime are apart, and the rows that say so."""

from __future__ import annotations

from shlex import quote

import numpy as np
import torch
from PIL import Image

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.export.onnx_graph import OUTPUTS, Parity, compare
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.onnx_session import open_session
from cfamc_zoo.zoo.preprocess import fit, to_input
from cfamc_zoo.zoo.results import Rows, row_of
from cfamc_zoo.zoo.spec import Preprocess
from cfamc_zoo.zoo.weights import Release, load_encoder

# Float32 sums in another order; measured values are some hundred times smaller.
RELATIVE_LIMIT = 1e-4

PROTOCOL = "features of the same images by torch and by ONNX Runtime"


def measure_parity(release: Release, images: np.ndarray) -> dict[str, Parity]:
    """Largest difference between torch and ONNX Runtime, by feature.

    Args:
        images: (N, H, W, 3) uint8.

    Raises:
        ReleaseError: over 1e-4 of the feature's largest value.
    """
    x = sized(images, release.config.preprocess)
    encoder = load_encoder(release)
    result = {}
    for feature in OUTPUTS:
        with torch.no_grad():
            reference = encoder(torch.from_numpy(x), feature).numpy()
        parity = compare(reference, open_session(release, feature)(x))
        if not parity.relative <= RELATIVE_LIMIT:
            raise ReleaseError(
                f"{feature} of {release.config.name!r} differs by {parity.relative:.1e} between "
                f"torch and ONNX Runtime, over {RELATIVE_LIMIT:g}; not released"
            )
        result[feature] = parity
    return result


def parity_rows(release: Release, images: np.ndarray, *, data: str) -> Rows:
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
                "n": len(images),
                "value": value,
                "limit": limit,
            }
            rows.append(row_of(measured, protocol=PROTOCOL, command=command, here=here))
    return rows


def sized(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """(N, H, W, 3) uint8 of any size as the model's input, (N, 3, S, S) float32 in [0, 1]."""
    if images.shape[1:3] != (preprocess.size, preprocess.size):
        images = np.stack([fit(Image.fromarray(image), preprocess) for image in images])
    return to_input(images)
