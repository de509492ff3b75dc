"""Loading a verified release against what loads the same weights without a check.

python benchmarks/loading.py [--runs 15] [-o FILE]

torch: `cfamc_zoo.load` against `safetensors.torch.load_file`, the same module built anew and
`load_state_dict`. ONNX: a session over the verified release against one over a plain
self-contained file. Both with torch imported, in one process, in turns; the files are in the
page cache. The thin bundled model, and a ResNet-18 of full width with random weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import load_file

import cfamc_zoo
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.export.release import save_encoder
from cfamc_zoo.export.single_file import export_single_file
from cfamc_zoo.zoo.catalogue.registry import default_model
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.onnx.cache import open_kept_session
from cfamc_zoo.zoo.release.folder import MODEL, open_release

Calls = tuple[Callable[[], Any], Callable[[], Any]]


def torch_calls(name: str) -> Calls:
    release = resolve(name)

    def plain() -> Encoder:
        encoder = Encoder(release.config.architecture)
        encoder.load_state_dict(load_file(release.folder / MODEL))
        return encoder.eval()

    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(cfamc_zoo.load(name)(x), plain()(x))
    return lambda: cfamc_zoo.load(name), plain


def onnx_calls(name: str, single: Path) -> Calls:
    threads = torch.get_num_threads()

    def ours() -> Any:
        return open_kept_session(resolve(name), "backbone", threads=threads)

    def plain() -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(single, options, providers=["CPUExecutionProvider"])

    x = np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32)
    np.testing.assert_allclose(
        ours()(x), plain().run(["backbone"], {"images": x})[0], rtol=1e-4, atol=1e-5
    )
    return ours, plain


def compare(calls: Calls, runs: int) -> dict[str, float]:
    """Median seconds of both, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 2):  # in turns, so that a slow moment hits both; two to warm up
        for call, noted in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            if run > 1:
                noted.append(time.perf_counter() - start)
    ours, plain = (statistics.median(s) for s in seconds)
    return {"ours": ours, "plain": plain, "ratio": ours / plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--keep", type=Path, help="where the full-width model is made, or was")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    images = load_dataset("cifar10-sample").images[:8]
    rows = {}
    with tempfile.TemporaryDirectory(prefix="cfamc-zoo-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        full = folder / "full"
        if not full.exists():
            save_encoder(
                Encoder(ResNetArchitecture()).eval(), full, images=images, data="cifar10-sample"
            )
        for label, name in (("thin", default_model()), ("full", str(full))):
            single = folder / f"{label}.onnx"
            if not single.exists():
                release = open_release(resolve(name).folder)
                export_single_file(release, single, kind="features", images=images)
            rows[f"{label} torch"] = compare(torch_calls(name), arguments.runs)
            rows[f"{label} onnx"] = compare(onnx_calls(name, single), arguments.runs)
    print(f"{'':12} {'ours':>10} {'unchecked':>10} {'ratio':>6}")
    for label, row in rows.items():
        print(f"{label:12} {row['ours']:9.4f}s {row['plain']:9.4f}s {row['ratio']:5.2f}x")
    if arguments.output:
        arguments.output.write_text(json.dumps({"runs": arguments.runs, **rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
