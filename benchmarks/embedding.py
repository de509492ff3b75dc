"""Embedding PNG files: this package, ONNX Runtime alone on ready tensors, the usual script.

All with the same full-width ResNet-18 (random weights) on the same cores, in one run; then the
command's peak memory over some and over five times as many files.

    python benchmarks/embedding.py [--images 10000] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.export.release import export_release
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig
from cfamc_zoo.zoo.release.folder import Release, open_release
from cfamc_zoo.zoo.release.loading import load_encoder

# ru_maxrss of a child includes what it was forked from, so a small process starts it.
MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def make_release(folder: Path) -> Release:
    torch.manual_seed(0)
    architecture = ResNetArchitecture()
    encoder = Encoder(architecture).eval()
    config = ReleaseConfig(
        FORMAT_VERSION, "resnet18", architecture, Preprocess(), {}, {}, {}, "Apache-2.0"
    )
    sample = load_dataset("cifar10-sample").first(8)
    return export_release(encoder, config, folder, images=sample.images, data=sample.name)


def write_images(folder: Path, n: int) -> None:
    """One class folder, as ImageFolder wants it: the sample's images with some noise."""
    images = load_dataset("cifar10-sample").images
    random = np.random.default_rng(0)
    (folder / "all").mkdir(parents=True)
    for i in range(n):
        noisy = images[i % len(images)].astype(int) + random.integers(-9, 10, (32, 32, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"all/{i:06}.png")


def command(release: Release, images: Path, out: Path) -> list[str]:
    embed = [sys.executable, "-m", "cfamc_zoo", "embed", str(images)]
    return [*embed, "-m", str(release.folder), "-o", str(out), "--overwrite"]


def usual_script(release: Release, images: Path, n: int) -> float:
    """Images a second of what most people write; its start-up is not counted."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    model = load_encoder(release)
    start = time.perf_counter()
    data = ImageFolder(str(images), transforms.ToTensor())
    loader = torch.utils.data.DataLoader(data, batch_size=256, num_workers=os.cpu_count() or 1)
    with torch.no_grad():
        vectors = torch.cat([model(x) for x, _ in loader])
    assert len(vectors) == n
    return n / (time.perf_counter() - start)


def plain_onnx(release: Release, path: Path) -> None:
    """The backbone as anyone would export it: one self-contained float32 file, optimized."""
    x = torch.zeros(2, 3, 32, 32)
    batch = {0: torch.export.Dim("batch", min=1)}
    torch.onnx.export(
        load_encoder(release).backbone,
        (x,),
        path,
        dynamo=True,
        dynamic_shapes=(batch,),
        external_data=False,
        input_names=["images"],
        verbose=False,
    )


def runtime_alone(path: Path, n: int) -> float:
    """Images a second of ONNX Runtime on tensors that are there already."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).random((32, 3, 32, 32), dtype=np.float32)
    session.run(None, {"images": x})
    batches = max(1, n // 32)
    start = time.perf_counter()
    for _ in range(batches):
        session.run(None, {"images": x})
    return batches * 32 / (time.perf_counter() - start)


def peak_memory(arguments: list[str]) -> float:
    """MiB."""
    measure = [sys.executable, "-c", MEASURE, *arguments]
    return float(subprocess.run(measure, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    n = arguments.images
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_release(root / "release")
        release = open_release(root / "release")
        write_images(root / "some", n)
        write_images(root / "many", 5 * n)
        result: dict[str, float] = {"images": n}

        plain_onnx(release, root / "plain.onnx")
        alone = [runtime_alone(root / "plain.onnx", n // 2)]
        start = time.perf_counter()
        subprocess.run(
            command(release, root / "some", root / "e.parquet"), check=True, capture_output=True
        )
        ours = n / (time.perf_counter() - start)
        alone.append(
            runtime_alone(root / "plain.onnx", n // 2)
        )  # before and after: the machine may drift
        result["onnx_runtime_alone"] = sum(alone) / 2
        result["cfamc_zoo_embed_with_startup"] = ours
        result["usual_script"] = usual_script(release, root / "some", n)
        result["ratio_to_onnx_runtime_alone"] = ours / result["onnx_runtime_alone"]
        result["ratio_to_usual_script"] = ours / result["usual_script"]
        for name in ("some", "many"):
            peak = peak_memory(command(release, root / name, root / "m.parquet"))
            result[f"peak_mib_{name}"] = peak
    print(f"images a second over {n} PNG files, {os.cpu_count()} cores")
    print(f"  ONNX Runtime alone, ready tensors {result['onnx_runtime_alone']:8.1f}")
    ratio = result["ratio_to_onnx_runtime_alone"]
    print(f"  cfamc-zoo embed, start-up too     {ours:8.1f}   {ratio:.2f}x of that")
    ratio = result["ratio_to_usual_script"]
    print(
        f"  ImageFolder + DataLoader + torch  {result['usual_script']:8.1f}   {ratio:.2f}x slower"
    )
    print(f"peak memory: {n} files {result['peak_mib_some']:.0f} MiB, ", end="")
    print(f"{5 * n} files {result['peak_mib_many']:.0f} MiB")
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
