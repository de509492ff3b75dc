"""Measures what docs/leaderboard.html says of a model beside its accuracies.

    python tools/transfer_and_speed.py resnet18-thin-cifar10-free [--only latency size]

Writes docs/runs/NAME/transfer.json, latency.json and size.json; with --only those alone that are
named, of which neighbours.json is for a run whose heads.json is older than its k-NN.
MODEL is a name or a release folder. transfer takes the images of both CIFAR sets, and minutes for
a thin model, half an hour for one of full width on two cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.evaluation.heads.fitting import ProbeSettings, default_feature, fit_release
from cfamc_zoo.evaluation.heads.linear import extract
from cfamc_zoo.evaluation.heads.neighbours import NEIGHBOURS, nearest_votes
from cfamc_zoo.progress import shown
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.images.preprocess import to_input
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import GRAPH, MODEL, Release
from cfamc_zoo.zoo.release.loading import load_encoder

ROOT = Path(__file__).parent.parent
OTHER = {"cifar10": "cifar100", "cifar100": "cifar10"}  # what a head is fitted to, by training data
FEATURE = "backbone"  # what `embed` writes, and what transfer is measured on elsewhere
BATCH = 64  # images at a time
TRIED = 10.0  # seconds for which one image, and then a batch, is run again and again
SEED = 0
CPU = torch.device("cpu")


def transfer(release: Release) -> dict[str, Any]:
    """A linear head on the frozen features, of the data that the encoder was not trained on."""
    own = release.config.recipe["data"]
    if own not in OTHER:
        raise SystemExit(
            f"{release.config.name} was trained on {own}; transfer is between CIFAR sets"
        )
    data = OTHER[own]
    settings = ProbeSettings(FEATURE, seed=SEED)
    fitted = fit_release(release, data, settings, device=CPU, say=print, progress=shown)
    words = ["probe", "-m", release.config.name, "--data", data, "--features", FEATURE]
    return {"command": shlex.join(["cfamc-zoo", *words, "--seed", f"{SEED}"]), **fitted.to_json()}


def latency(release: Release) -> dict[str, Any]:
    """One image, and images a second of a batch, in ONNX Runtime with one thread.

    Other programs can only make a run longer: the shortest of many tells what the model takes.
    """
    session = open_session(release, FEATURE, threads=1)
    images = to_input(load_dataset("cifar10-sample").images[:BATCH])
    one, batch = timed(session, images[:1]), timed(session, images)
    return {
        "feature": FEATURE,
        "threads": 1,
        "batch": BATCH,
        "tried_seconds": TRIED,
        "image_ms": 1000 * min(one),
        "image_ms_median": 1000 * statistics.median(one),
        "images_per_second": len(images) / min(batch),
        "images_per_second_median": len(images) / statistics.median(batch),
        "seed": SEED,
    }


def timed(session: Callable[[np.ndarray], object], images: np.ndarray) -> list[float]:
    """Seconds of each run; one comes first and is left out."""
    session(images)
    seconds: list[float] = []
    while sum(seconds) < TRIED:
        start = time.perf_counter()
        session(images)
        seconds.append(time.perf_counter() - start)
    return seconds


def size(release: Release) -> dict[str, Any]:
    """Parameters, and bytes of the files that `embed` reads."""
    encoder = load_encoder(release)
    parts = {"backbone": encoder.backbone, "representation": encoder.representation}
    return {
        "parameters": {
            name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()
        },
        "bytes": sum(release.config.files[name].size for name in (MODEL, GRAPH)),
        "files": [MODEL, GRAPH],
        "seed": SEED,
    }


def neighbours(release: Release) -> dict[str, Any]:
    """k-NN on the data that the encoder was trained on, as `cfamc-zoo measure` has it in heads."""
    data = release.config.recipe["data"]
    train, test = load_dataset(data, "train"), load_dataset(data, "test")
    encoder, feature = load_encoder(release), default_feature(release)
    with shown(f"{feature} of {data}", len(train) + len(test)) as bar:
        x, asked = (
            extract(encoder, part.images, feature, device=CPU, advance=bar.advance)
            for part in (train, test)
        )
    voted = nearest_votes(x, torch.from_numpy(train.labels), asked, len(train.classes))
    correct = int((voted == torch.from_numpy(test.labels)).sum())
    return {
        "data": data,
        "feature": feature,
        "n": len(test),
        "knn_accuracy": 100 * correct / len(test),
        "knn_k": min(NEIGHBOURS, len(train)),
        "seed": SEED,
    }


PARTS: dict[str, Callable[[Release], dict[str, Any]]] = {
    "transfer": transfer,
    "latency": latency,
    "size": size,
    "neighbours": neighbours,
}
USUAL = [part for part in PARTS if part != "neighbours"]


def processor() -> str:
    """The CPU's name, as its maker calls it where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def recorded(release: Release, part: str, found: dict[str, Any]) -> dict[str, Any]:
    """What was found, with what it was found with."""
    again = f"python tools/transfer_and_speed.py {release.config.name} --only {part}"
    here = environment(CPU)
    return {
        "command": again,
        "sha256": release.digest,
        **found,
        "versions": here["versions"],
        "device": f"cpu: {processor()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a name or a release folder")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=USUAL)
    arguments = parser.parse_args()
    release = resolve(arguments.model)
    folder = ROOT / "docs/runs" / release.config.name
    folder.mkdir(parents=True, exist_ok=True)
    for part in arguments.only:
        found = recorded(release, part, PARTS[part](release))
        (folder / f"{part}.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
