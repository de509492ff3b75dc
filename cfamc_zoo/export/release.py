"""A release folder from an encoder: weights, graph, and the checks before it is called done."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cfamc_zoo.errors import OutputExistsError, ReleaseError
from cfamc_zoo.export.card import render_release
from cfamc_zoo.export.onnx_graph import OUTPUTS, Parity, build_graph, check_graph, compare
from cfamc_zoo.zoo.encoder import Encoder
from cfamc_zoo.zoo.onnx_session import open_session
from cfamc_zoo.zoo.preprocess import fit, to_input
from cfamc_zoo.zoo.spec import FORMAT_VERSION, Preprocess, ReleaseConfig
from cfamc_zoo.zoo.weights import (
    CARD,
    GRAPH,
    MODEL,
    PROBE,
    Release,
    load_encoder,
    load_probe,
    open_release,
    save_release,
    write_files,
)

# Float32 sums in another order; measured values are some hundred times smaller.
RELATIVE_LIMIT = 1e-4


def export_release(
    encoder: Encoder,
    config: ReleaseConfig,
    folder: Path,
    *,
    images: np.ndarray,
    others: Mapping[str, bytes] | None = None,
) -> Release:
    """Writes and checks a release.

    The folder appears only when every check has passed: ONNX's checker, and the same features
    from torch and from ONNX Runtime, which read the files anew and from another folder.

    Args:
        encoder: what to release; its projector, where it has one, becomes its own file.
        config: `files` and the parity in `provenance` are filled in here.
        folder: must not exist.
        images: (N, S, S, 3) uint8, to compare the back ends on.
        others: further files of the release by name.

    Raises:
        ReleaseError: a check failed; nothing is left behind.
        StorageError: the folder cannot be written; nothing is left behind.
    """
    from cfamc_zoo.atomic import storage_errors

    with storage_errors(folder):
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        release = save_release(temporary / "a", encoder, config, others)
        stored = load_encoder(release)  # with the weights as they are stored
        graph = build_graph(stored, release.read(MODEL))
        release = write_files(release.folder, release.config, {GRAPH: graph})
        check_graph(graph, str(release.folder))
        parity = {name: asdict(p) for name, p in measure_parity(release, images).items()}
        measured = {"images": len(images), "relative_limit": RELATIVE_LIMIT, **parity}
        provenance = release.config.provenance | {"onnx_parity": measured}
        release = write_files(release.folder, replace(release.config, provenance=provenance), {})
        (release.folder / CARD).write_text(render_release(release))
        moved = shutil.move(release.folder, temporary / "b")
        open_release(Path(moved)).verify()
        measure_parity(open_release(Path(moved)), images[:8])
        with storage_errors(folder):
            Path(moved).rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return open_release(folder)


def save_encoder(encoder: Encoder, folder: str | Path, *, images: np.ndarray) -> Release:
    """A release of an encoder alone, under the folder's name.

    What is known of how it was made comes from the release that it was loaded from. That one's
    head and results are not carried over: the weights may have changed since.

    Args:
        folder: must not exist.
        images: (N, H, W, 3) uint8, to compare the back ends on.

    Raises:
        OutputExistsError: the folder is there.
        ReleaseError: a check failed; nothing is left behind.
        StorageError: the folder cannot be written; nothing is left behind.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        raise OutputExistsError(f"{str(folder)!r} is already there; give another folder")
    known = encoder.config or ReleaseConfig(
        format_version=FORMAT_VERSION,
        name=folder.name,
        architecture=encoder.architecture,
        preprocess=encoder.preprocess,
        threat_model={},
        recipe={},
        provenance={},
        licence="unknown",
    )
    config = replace(known, name=folder.name, files={})
    training = encoder.training
    try:
        return export_release(encoder.eval(), config, folder, images=images)
    finally:
        encoder.train(training)


def check_release(release: Release, images: np.ndarray) -> None:
    """Everything that a release must be before others get it.

    Args:
        images: (N, S, S, 3) uint8, to compare the back ends on.

    Raises:
        ReleaseError: a file is not as pinned, the weights or the head do not fit, the graph is
            not valid or its features are not torch's.
    """
    release.verify()
    if release.has(PROBE):
        load_probe(release)
    if release.has(GRAPH):
        check_graph(release.read(GRAPH), str(release.folder))
        measure_parity(release, images)
    else:
        load_encoder(release)


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


def sized(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """(N, H, W, 3) uint8 of any size as the model's input, (N, 3, S, S) float32 in [0, 1]."""
    if images.shape[1:3] != (preprocess.size, preprocess.size):
        images = np.stack([fit(Image.fromarray(image), preprocess) for image in images])
    return to_input(images)
