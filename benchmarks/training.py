"""One batch of the full recipe: this package's engine against the same step written plainly.

The plain step is what a first implementation does: Pillow augmentation image by image, float32
in NCHW, one d x d determinant a view, an optimizer that loops over parameters. Both train the
recipe's network on the same images on the same device.

    python benchmarks/training.py [--recipe cf-amc-ssl] [--batches 1] [--device cpu] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision import transforms as T

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.training.allocator import keep_freed_memory
from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.recipe import Recipe, load_recipe
from cfamc_zoo.zoo.encoder import Encoder, build_projector


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
            invariance = -sum(F.cosine_similarity(v, mean, dim=1).mean() for v in z) / count
            rate = sum(self.coding_rate(v) for v in z) / count
            for p in self.encoder.parameters():
                p.grad = None
            (200 * invariance - rate).backward()
            with torch.no_grad():
                self.descend()
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
            if p.ndim > 1:
                rate = 0.005 * p.norm() / (g.norm() + 1e-4 * p.norm())
                g = (g + 1e-4 * p) * min(rate.item() / 0.3, 1)
            m = self.momentum.setdefault(p, torch.zeros_like(p))
            m.mul_(0.9).add_(g)
            p -= 0.3 * (g + 0.9 * m)


def crops_per_second(step, recipe: Recipe, batches: int, device: torch.device) -> float:  # type: ignore[no-untyped-def]
    """Median over batches, the first one (allocation, compilation) left out."""
    times = []
    for number in range(batches + 1):
        start = time.perf_counter()
        step(number)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    crops = recipe.batch_size * recipe.views.count * recipe.replays
    return crops / float(np.median(times[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cf-amc-ssl")
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    images = load_dataset("cifar10-sample").images
    device = torch.device(arguments.device)

    # The plain step first, under the allocator's defaults, as a plain script would run.
    plain = crops_per_second(
        PlainStep(recipe, images, device).step, recipe, arguments.batches, device
    )
    keep_freed_memory()
    ours = crops_per_second(Engine(recipe, images, device).step, recipe, arguments.batches, device)
    print(f"plain step   {plain:10.1f} crops/s")
    print(f"this package {ours:10.1f} crops/s   {ours / plain:.2f}x")
    if arguments.output:
        result = {
            "recipe": recipe.name,
            "settings": arguments.set,
            "plain_crops_per_second": plain,
            "crops_per_second": ours,
            "ratio": ours / plain,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "machine": platform.platform(),
            "device": str(device),
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
