"""Embedding files: this package beside ONNX Runtime alone, short scripts and other packages.

    python benchmarks/embedding.py [png jpeg photo] [--images N] [--peers FOLDER] [-o FILE]

- png: 32 x 32, a full-width ResNet-18 with random weights, whose time is almost all of it;
- jpeg: 500 x 375, and photo: 4000 x 3000, the bundled thin ResNet-18; reading is almost all of it.

All sides of a case have the same network, files and cores, and run in turns of two seconds, so
that a slow phase of the machine meets all; torchvision's, whose workers cannot be stopped, runs on
its own after them. fastembed is compared where it is installed, or with --peers, where `pip install
--target FOLDER fastembed` has put it. For png also the command's peak memory over these files and
over five times as many, with --memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import pipelines
import torch
from PIL import Image
from turns import in_turns

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.export.release import export_release
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig
from cfamc_zoo.zoo.release.folder import open_release
from cfamc_zoo.zoo.release.loading import load_encoder

# How many files, their width and height, and the side that ours is measured against and its goal.
CASES: dict[str, tuple[int, tuple[int, int], str, float]] = {
    "png": (10_000, (32, 32), "ONNX Runtime alone", 0.95),
    "jpeg": (2_000, (500, 375), "plain loop", 3.0),
    "photo": (100, (4000, 3000), "plain loop", 7.0),
}
PACKAGES = ("cfamc-zoo", "pillow", "onnxruntime-gpu", "onnxruntime", "torch", "fastembed")
TURN = 2.0  # seconds
DIFFERENT = 20  # files; the others are links to them

# ru_maxrss of a child includes what it was forked from, so a small process starts it.
MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def full_width(folder: Path) -> Path:
    torch.manual_seed(0)
    architecture = ResNetArchitecture()
    encoder = Encoder(architecture).eval()
    config = ReleaseConfig(
        FORMAT_VERSION, "resnet18", architecture, Preprocess(), {}, {}, {}, "Apache-2.0"
    )
    sample = load_dataset("cifar10-sample", limit=8)
    export_release(encoder, config, folder, images=sample.images, data=sample.name)
    return folder


def write_pngs(folder: Path, n: int) -> None:
    """One class folder, as ImageFolder wants it: the sample's images with some noise."""
    images = load_dataset("cifar10-sample").images
    random = np.random.default_rng(0)
    (folder / "all").mkdir(parents=True)
    for i in range(n):
        noisy = images[i % len(images)].astype(int) + random.integers(-9, 10, (32, 32, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"all/{i:06}.png")


def write_jpegs(folder: Path, n: int, size: tuple[int, int]) -> None:
    """Enlarged CIFAR images with grain, about as many bytes a pixel as a camera's."""
    images = load_dataset("cifar10-sample").images
    random = np.random.default_rng(0)
    (folder / "all").mkdir(parents=True)
    for i in range(n):
        path = folder / f"all/{i:06}.jpg"
        if i >= DIFFERENT:
            path.hardlink_to(folder / f"all/{i % DIFFERENT:06}.jpg")
            continue
        large = np.asarray(Image.fromarray(images[i]).resize(size, Image.Resampling.BICUBIC))
        grain = random.normal(0, 6, large.shape[:2]).astype(np.float32)[..., None]
        Image.fromarray((large + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def plain_onnx(release: Path, folder: Path) -> Path:
    """The backbone as anyone would export it: one self-contained float32 file, optimized."""
    folder.mkdir()
    torch.onnx.export(
        load_encoder(open_release(release)).backbone,
        (torch.zeros(2, 3, 32, 32),),
        folder / pipelines.GRAPH,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        external_data=False,
        input_names=["images"],
        verbose=False,
    )
    return folder


def compare(name: str, n: int, root: Path, peers: Path | None) -> dict[str, Any]:
    """Images a second of every side of a case, and ours against each."""
    _, size, against, goal = CASES[name]
    images = root / "images"
    if name == "png":
        release = full_width(root / "release")
        write_pngs(images, n)
    else:
        release = bundled_folder(default_model())
        write_jpegs(images, n, size)
    plain = plain_onnx(release, root / "plain")
    sides = {
        "cfamc-zoo": partial(pipelines.ours, release, images),
        "ONNX Runtime alone": partial(pipelines.runtime_alone, plain, images),
        "reading alone": partial(pipelines.reading_alone, images),
        "plain loop": partial(pipelines.plain_loop, plain, images),
    }
    if peers or util.find_spec("fastembed"):
        sides["fastembed"] = partial(pipelines.fastembed, plain, images, peers)
    found = in_turns({side: (prepare, TURN) for side, prepare in sides.items()})
    rates = {side: done / seconds for side, (done, seconds) in found.items()}
    assert all(done >= n // pipelines.BATCH * pipelines.BATCH for done, _ in found.values())
    usual = pipelines.usual_script(release, images)
    start = time.perf_counter()
    rates["ImageFolder, DataLoader, torch"] = usual() / (time.perf_counter() - start)
    own = rates["cfamc-zoo"]
    return {
        "images": n,
        "size": f"{size[0]} x {size[1]}",
        "images_a_second": {side: round(rate, 1) for side, rate in rates.items()},
        "times_as_fast_as": {side: round(own / rate, 2) for side, rate in rates.items()},
        "goal": {"against": against, "times_as_fast": goal},
    }


def peak_memory(release: Path, images: Path, out: Path) -> float:
    """MiB of the command."""
    embed = [sys.executable, "-m", "cfamc_zoo", "embed", str(images), "-m", str(release)]
    measure = [sys.executable, "-c", MEASURE, *embed, "-o", str(out), "--overwrite"]
    return float(subprocess.run(measure, check=True, capture_output=True, text=True).stdout)


def show(name: str, case: dict[str, Any]) -> None:
    print(f"{name}: {case['images']} files of {case['size']}, images a second")
    for side, rate in case["images_a_second"].items():
        print(f"  {side:32} {rate:10.1f}   ours is {case['times_as_fast_as'][side]:.2f}x as fast")
    for files, peak in case.get("peak_mib", {}).items():
        print(f"  peak memory over {files} files {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=[])
    parser.add_argument("--images", type=int, help="instead of each case's own number")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    packages = {p: metadata.version(p) for p in PACKAGES if _installed(p, arguments.peers)}
    result: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/embedding.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **packages},
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
        "load_before": round(os.getloadavg()[0], 1),  # of other programs on the machine
    }
    for name in arguments.cases or CASES:
        n = arguments.images or CASES[name][0]
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            result[name] = compare(name, n, root, arguments.peers)
            if name == "png" and arguments.memory:
                write_pngs(root / "many", 5 * n)
                result[name]["peak_mib"] = {
                    count: peak_memory(root / "release", root / images, root / "m.parquet")
                    for count, images in ((n, "images"), (5 * n, "many"))
                }
        show(name, result[name])
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


def _installed(package: str, peers: Path | None) -> bool:
    if peers and str(peers) not in sys.path:
        sys.path.append(str(peers))
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
