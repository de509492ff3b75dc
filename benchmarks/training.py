"""One batch of the full recipe: this package's engine against the same step written plainly.

The plain step is what a first implementation does: Pillow augmentation image by image, float32
in NCHW, one d x d determinant a view, an optimizer that loops over parameters. The engine's
measures are added one by one. All train the recipe's network on the same images on the same
device. With --reference the paper's public code, from a folder of its own, is the baseline.

    python benchmarks/training.py [--recipe cf-amc-ssl] [--batches 1] [--device cpu] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision import transforms as T

from cfamc_zoo.allocator import keep_freed_memory
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.training.batches import Batches
from cfamc_zoo.training.cost import flop_per_pass
from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.recipe import Recipe, load_recipe
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector


class PlainStep:
    """CF-AMC-SSL's step in plain eager PyTorch."""

    def __init__(self, recipe: Recipe, images: np.ndarray, device: torch.device):
        self.recipe, self.images, self.device = recipe, images, device
        v = recipe.views
        self.transform = T.Compose(
            [
                T.RandomResizedCrop(32, scale=v.scale, ratio=v.ratio),
                T.RandomHorizontalFlip(v.flip_p),
                T.RandomApply([T.ColorJitter(*v.jitter)], v.jitter_p),
                T.RandomGrayscale(v.grey_p),
                T.RandomApply([T.GaussianBlur(17, v.blur_sigma)], v.blur_p),
                T.RandomSolarize(128, v.solarize_p),
                T.ToTensor(),
            ]
        )
        torch.manual_seed(0)
        self.encoder = Encoder(recipe.encoder, projector=build_projector(recipe.encoder))
        self.encoder.to(device).train()
        self.momentum: dict[nn.Parameter, torch.Tensor] = {}
        size = recipe.views.count * recipe.batch_size
        self.delta = torch.zeros(size, 3, 32, 32, device=device, requires_grad=True)

    def step(self, number: int) -> None:
        b, count = self.recipe.batch_size, self.recipe.views.count
        batch = [Image.fromarray(x) for x in self.images[number * b :][:b]]
        views = torch.stack([self.transform(x) for _ in range(count) for x in batch])
        views = views.to(self.device)
        for _ in range(self.recipe.replays):
            z = self.encoder(views + self.delta, "projection").view(count, b, -1)
            mean = z.mean(0)
            similar = [F.cosine_similarity(v, mean, dim=1).mean() for v in z]
            invariance = -torch.stack(similar).mean()
            rate = torch.stack([self.coding_rate(v) for v in z]).mean()
            for p in self.encoder.parameters():
                p.grad = None
            (200 * invariance - rate).backward()
            with torch.no_grad():
                self.descend()
                assert self.delta.grad is not None
                self.delta += 0.01 * self.delta.grad.sign()
                self.delta.clamp_(-8 / 255, 8 / 255)
                self.delta.copy_((views + self.delta).clamp(0, 1) - views)
                self.delta.grad = None

    @staticmethod
    def coding_rate(z: torch.Tensor) -> torch.Tensor:
        b, d = z.shape
        return torch.logdet(torch.eye(d, device=z.device) + d / (b * 0.2) * z.T @ z) / 2

    def descend(self) -> None:
        for p in self.encoder.parameters():
            g = p.grad
            assert g is not None
            if p.ndim > 1:
                rate = 0.005 * p.norm() / (g.norm() + 1e-4 * p.norm())
                g = (g + 1e-4 * p) * min(rate.item() / 0.3, 1)
            m = self.momentum.setdefault(p, torch.zeros_like(p))
            m.mul_(0.9).add_(g)
            p.sub_(0.3 * (g + 0.9 * m))


class Unprefetched(Batches):
    """Makes each batch's crops when they are asked for."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.stream = None


# Name, recipe keys, layout, and how batches are made.
Variant = tuple[str, dict[str, Any], torch.memory_format, type[Batches]]


def variants(device: torch.device) -> list[Variant]:
    """What this package does beyond the plain step, one measure after the other."""
    plain, last = torch.contiguous_format, torch.channels_last
    steps: list[tuple[str, str, str, torch.memory_format, type[Batches]]] = [
        ("batched crops, B x B coding rate, fused LARS", "float32", "none", plain, Unprefetched),
        ("+ channels-last", "float32", "none", last, Unprefetched),
        ("+ bfloat16", "bfloat16", "none", last, Unprefetched),
    ]
    if device.type == "cuda":
        steps += [
            ("+ next crops on their own stream", "bfloat16", "none", last, Batches),
            ("+ torch.compile", "bfloat16", "default", last, Batches),
            ("+ CUDA graphs", "bfloat16", "reduce-overhead", last, Batches),
        ]
    return [
        (name, {"precision": precision, "compile": mode}, layout, batches)
        for name, precision, mode, layout, batches in steps
    ]


def make_engine(
    recipe: Recipe,
    images: np.ndarray,
    device: torch.device,
    layout: torch.memory_format,
    batches: type,
) -> Engine:
    class Variant(Engine):
        pass

    Variant.layout = layout
    engine = Variant(recipe, images, device)
    engine.batches = batches(recipe, images, device, engine.part)
    return engine


def hardware(device: torch.device) -> dict[str, float]:
    """Copy bandwidth in GB/s (read and written) and bfloat16 matmul rate in TFLOP/s."""
    gpu = device.type == "cuda"
    source = torch.empty(2**30 if gpu else 2**27, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    n = 8192 if gpu else 1024
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    copying = median_seconds(lambda: target.copy_(source), 20, device)
    multiplying = median_seconds(lambda: a @ a, 20, device)
    return {
        "copy_gb_per_s": 2 * source.numel() / copying / 1e9,
        "bf16_matmul_tflop_per_s": 2 * n**3 / multiplying / 1e12,
    }


def median_seconds(step: Callable[[], object], times: int, device: torch.device) -> float:
    """Of one call; three calls come first and are left out (allocation, compilation)."""
    seconds = []
    for _ in range(times + 3):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[3:]))


def crops_per_second(
    step: Callable[[int], None], recipe: Recipe, batches: int, device: torch.device
) -> float:
    """Median over batches; the first ones (allocation, compilation) are left out."""
    warm = 3 if device.type == "cuda" else 1
    seconds = []
    for number in range(batches + warm):
        start = time.perf_counter()
        step(number)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    crops = recipe.batch_size * recipe.views.count * recipe.replays
    return crops / float(np.median(seconds[warm:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cf-amc-ssl")
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--reference", type=Path, help="a copy of softsys4ai/CF-AMC-SSL")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    images = load_dataset("cifar10-sample").images
    device = torch.device(arguments.device)
    machine = hardware(device)
    print(
        f"copy {machine['copy_gb_per_s']:,.1f} GB/s, bfloat16 matmul "
        f"{machine['bf16_matmul_tflop_per_s']:,.2f} TFLOP/s"
    )
    rows: list[dict[str, Any]] = []

    def add(name: str, step: Callable[[int], None]) -> None:
        rate = crops_per_second(step, recipe, arguments.batches, device)
        share = rate * flop_per_pass(recipe) / machine["bf16_matmul_tflop_per_s"] / 1e12
        ratio = rate / rows[0]["crops_per_second"] if rows else 1.0
        rows.append({"name": name, "crops_per_second": rate, "ratio": ratio, "share": share})
        print(f"{name:48} {rate:10,.1f} crops/s {ratio:6.2f}x {100 * share:5.1f}%", flush=True)

    print(f"{'':48} {'':10}         {'':5}  of the matmul rate")
    if arguments.reference:
        from reference import ReferenceStep

        add(
            "public implementation", ReferenceStep(arguments.reference, recipe, images, device).step
        )
    # Under the allocator's defaults, as a plain script would run.
    add("plain step", PlainStep(recipe, images, device).step)
    keep_freed_memory()
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        for name, keys, layout, batches in variants(device):
            chosen = replace(recipe, **keys)
            add(name, make_engine(chosen, images, device, layout, batches).step)
        add("as trained", Engine(recipe, images, device).step)
    if arguments.output:
        result = {
            "recipe": recipe.name,
            "settings": arguments.set,
            **machine,
            "flop_per_crop": flop_per_pass(recipe),
            "rows": rows,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "machine": platform.platform(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
