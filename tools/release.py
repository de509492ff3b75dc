"""From a measured run to a release: head, export, results, card.

    cfamc-zoo measure runs/thin --name resnet18-thin-cifar10-free
    python tools/release.py runs/thin --name resnet18-thin-cifar10-free --bundle

With --bundle the release becomes part of the package and its registry entry is written; without,
only docs/runs/NAME is: push it, and tools/register.py makes it known.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cfamc_zoo
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.evaluation.records import read_records, records_of
from cfamc_zoo.export.card import renew_card
from cfamc_zoo.export.publish import COMPARED
from cfamc_zoo.export.release import export_release
from cfamc_zoo.training.curves import plot_curves
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.catalogue.entry import entry_of, write_entry
from cfamc_zoo.zoo.catalogue.resolve import METRICS, open_folder
from cfamc_zoo.zoo.images.preprocess import to_input
from cfamc_zoo.zoo.release.folder import PROBE, PROJECTOR, RESULTS, Release, write_files
from cfamc_zoo.zoo.release.loading import load_encoder
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, read_results, rows_text

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/golden.npz"


def make_release(run: Path, name: str, *, folder: Path) -> Release:
    """The run's release under its name, with everything that was measured of it."""
    source = open_folder(run)
    records = read_records(records_of(source))
    own = next((r for r in records if r.asked["protocol"]["text"] == OWN_PROTOCOL), None)
    if own is None:
        raise SystemExit(f"{run} has no head to release; first `cfamc-zoo measure {run}`")
    for record in records:
        if record.sha256 != source.digest:
            raise SystemExit(f"{run} was measured with other weights; measure it again")
        if record.asked["name"] != name:
            raise SystemExit(f"{run} was measured as {record.asked['name']}; give that --name")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    sample = load_dataset("cifar10-sample", limit=COMPARED)
    release = export_release(
        load_encoder(source),
        replace(source.config, name=name, files={}),
        folder,
        images=sample.images,
        data=sample.name,
        others={PROBE: source.read(PROBE)},
    )
    if release.digest != source.digest:
        raise SystemExit(f"{folder} has other weights than {run}, which was measured")
    measured = [row for record in records for row in record.parsed()]
    rows = rows_text([*measured, *read_results(release)])
    return write_files(folder, release.config, {RESULTS: rows})


def without_projector(release: Release) -> Release:
    """For continued training, on the Hub; a user of the package does not need it."""
    if not release.has(PROJECTOR):
        return release
    files = {k: v for k, v in release.config.files.items() if k != PROJECTOR}
    (release.folder / PROJECTOR).unlink()
    return write_files(release.folder, replace(release.config, files=files), {})


def keep_log(run: Path, release: Release) -> None:
    """docs/runs/NAME: the curve, how it was made and what was measured, for docs/generate.py."""
    log = ROOT / "docs/runs" / release.config.name
    log.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / METRICS, log / METRICS)
    shutil.copy(plot_curves(run), log / "curves.svg")
    made = {"recipe": release.config.recipe, "provenance": release.config.provenance}
    (log / "run.json").write_text(_json(made))
    heads = [record.head for record in read_records(records_of(open_folder(run)))]
    (log / "heads.json").write_text(_json(heads))
    (log / RESULTS).write_bytes(release.read(RESULTS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--bundle", action="store_true")
    arguments = parser.parse_args()
    run, name = arguments.run, arguments.name
    folder = registry.bundled_folder(name) if arguments.bundle else run / name
    release = make_release(run, name, folder=folder)
    if arguments.bundle:
        release = without_projector(release)
    keep_log(run, release)
    if arguments.bundle:
        spec = entry_of(release, repo=f"cfamc-zoo/{name}", revision="main")
        write_entry(replace(spec, bundled=True))
        keep_golden(name)
    renew_card(release)  # which says whether its name is known


def keep_golden(name: str) -> None:
    """The first images' embeddings, which a test compares with ever after."""
    images = load_dataset("cifar10-sample", limit=8).images
    kept = dict(np.load(GOLDEN)) if GOLDEN.exists() else {}
    kept[name] = cfamc_zoo.load(name)(torch.from_numpy(to_input(images))).numpy()
    np.savez(GOLDEN, **kept)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


if __name__ == "__main__":
    main()
