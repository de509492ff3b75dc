"""A release folder from an encoder: weights, graph, and the checks before it is called done."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cfamc_zoo.errors import OutputExistsError
from cfamc_zoo.export.card import render_release
from cfamc_zoo.export.golden import golden_of
from cfamc_zoo.export.graph import build_graph, check_graph
from cfamc_zoo.export.parity import measure_parity, parity_rows
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.known import check_known
from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig
from cfamc_zoo.zoo.release.folder import (
    CARD,
    GOLDEN,
    GRAPH,
    MODEL,
    PROBE,
    RESULTS,
    Release,
    open_release,
    write_files,
)
from cfamc_zoo.zoo.release.loading import load_encoder, load_probe, save_release, weights_of
from cfamc_zoo.zoo.release.results import rows_text


def export_release(
    encoder: Encoder,
    config: ReleaseConfig,
    folder: Path,
    *,
    images: np.ndarray,
    data: str,
    others: Mapping[str, bytes] | None = None,
) -> Release:
    """Writes and checks a release.

    The folder appears only when every check has passed: ONNX's checker, and the same features
    from torch and from ONNX Runtime, which read the files anew and from another folder. How far
    these are apart is in its results.json, and what a few images gave in its golden.json.

    Args:
        encoder: what to release; its projector, where it has one, becomes its own file.
        config: `files` are filled in here.
        folder: must not exist.
        images: (N, S, S, 3) uint8, to compare the back ends on.
        data: name of the set whose first images these are.
        others: further files of the release by name.

    Raises:
        UsageError: a network of no known family.
        ReleaseError: a check failed; nothing is left behind.
        StorageError: the folder cannot be written; nothing is left behind.
    """
    check_known(encoder.architecture)
    from cfamc_zoo.atomic import storage_errors

    with storage_errors(folder):
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        release = save_release(temporary / "a", encoder, config, others)
        stored = load_encoder(release)  # with the weights as they are stored
        graph = build_graph(stored, release.read(MODEL))
        release = write_files(release.folder, release.config, {GRAPH: graph})
        check_graph(graph, str(release.folder))
        rows = parity_rows(release, images, data=data)
        golden = golden_of(release, images, data=data).to_bytes()
        files = {RESULTS: rows_text(rows), GOLDEN: golden}
        release = write_files(release.folder, release.config, files)
        card = render_release(release)
        with storage_errors(folder):
            (release.folder / CARD).write_bytes(card.encode())
            moved = shutil.move(release.folder, temporary / "b")
        open_release(Path(moved)).verify()
        measure_parity(open_release(Path(moved)), images[:8])
        with storage_errors(folder):
            Path(moved).rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return open_release(folder)


def save_encoder(encoder: Encoder, folder: str | Path, *, images: np.ndarray, data: str) -> Release:
    """A release of an encoder alone, under the folder's name.

    What is known of how it was made comes from the release that it was loaded from. That one's
    head and accuracies are not carried over: the weights may have changed since.

    Args:
        folder: must not exist.
        images: (N, H, W, 3) uint8, to compare the back ends on.
        data: name of the set whose first images these are.

    Raises:
        OutputExistsError: the folder is there.
        ReleaseError: a check failed; nothing is left behind.
        StorageError: the folder cannot be written; nothing is left behind.
    """
    check_known(encoder.architecture)
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
    provenance = known.provenance | changes_since(encoder)
    config = replace(known, name=folder.name, provenance=provenance, files={})
    training = encoder.training
    try:
        return export_release(encoder.eval(), config, folder, images=images, data=data)
    finally:
        encoder.train(training)


def changes_since(encoder: Encoder) -> dict[str, Any]:
    """Which release an encoder was loaded from, where its weights are no longer that one's."""
    if encoder.config is None:
        return {}
    before = encoder.config.files[MODEL].sha256
    if hashlib.sha256(weights_of(encoder)[MODEL]).hexdigest() == before:
        return {}
    return {"changed_since": {"name": encoder.config.name, "sha256": before}}


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
