"""From a measured run to a release: head, export, results, card.

    python tools/measure.py runs/thin --name resnet18-thin-cifar10-free
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
from measure import zoo

import cfamc_zoo
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.export.card import render_release
from cfamc_zoo.training.curves import plot_curves
from cfamc_zoo.zoo.catalogue.entry import entry_of, write_entry
from cfamc_zoo.zoo.images.preprocess import to_input
from cfamc_zoo.zoo.release.folder import CARD, PROJECTOR, RESULTS, open_release, write_files
from cfamc_zoo.zoo.release.results import read_results

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/golden.npz"


def measured(run: Path) -> list[dict[str, Any]]:
    """What tools/measure.py wrote, the released head's protocol first."""
    own = run / "own.json"
    files = [own, *sorted(f for f in run.glob("*.json") if f != own)]
    return [json.loads(f.read_text()) for f in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--bundle", action="store_true")
    arguments = parser.parse_args()
    run, name = arguments.run, arguments.name

    results = measured(run)
    folder = ROOT / "cfamc_zoo/zoo/bundled" / name if arguments.bundle else run / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    probe = str(run / "own.safetensors")
    zoo("export", str(run), "-o", str(folder), "--name", name, "--probe", probe)
    release = open_release(folder)
    for result in results:
        if result["sha256"] != release.digest:
            raise SystemExit(f"{run} was measured with other weights; measure it again")
    if arguments.bundle and release.has(PROJECTOR):
        # For continued training, on the Hub; a user of the package does not need it.
        files = {k: v for k, v in release.config.files.items() if k != PROJECTOR}
        (folder / PROJECTOR).unlink()
        release = write_files(folder, replace(release.config, files=files), {})
    rows = [row for result in results for row in result["rows"]] + read_results(release)
    release = write_files(folder, release.config, {RESULTS: _json(rows).encode()})

    log = ROOT / "docs/runs" / name
    log.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "metrics.jsonl", log / "metrics.jsonl")
    shutil.copy(plot_curves(run), log / "curves.svg")
    made = {"recipe": release.config.recipe, "provenance": release.config.provenance}
    (log / "run.json").write_text(_json(made))
    (log / "heads.json").write_text(_json([result["head"] for result in results]))
    (log / "results.json").write_text(_json(rows))
    if arguments.bundle:
        spec = entry_of(release, repo=f"cfamc-zoo/{name}", revision="main")
        write_entry(replace(spec, bundled=True))
        keep_golden(name)
    (folder / CARD).write_text(render_release(release))  # which says whether its name is known


def keep_golden(name: str) -> None:
    """The first images' embeddings, which a test compares with ever after."""
    images = load_dataset("cifar10-sample").images[:8]
    kept = dict(np.load(GOLDEN)) if GOLDEN.exists() else {}
    kept[name] = cfamc_zoo.load(name)(torch.from_numpy(to_input(images))).numpy()
    np.savez(GOLDEN, **kept)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


if __name__ == "__main__":
    main()
