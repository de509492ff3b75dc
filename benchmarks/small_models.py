"""Small networks that are not this package's, as targets: robust, standard, masked.

Each is trained for some minutes on the first 10,000 training images of CIFAR-10, once, and kept
in a file. `masked` is the standard one behind an input of 16 levels a channel: its gradients are
zero everywhere, which is no defence.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.datasets import load_dataset

STEPS = {"robust": 1400, "standard": 1200}
NAMES = (*STEPS, "masked")
EPS = 8 / 255


class SmallCnn(nn.Module):
    """(N, 3, 32, 32) in [0, 1] to (N, 10): three convolutions and a linear layer."""

    def __init__(self, width: int = 16):
        super().__init__()
        layers: list[nn.Module] = []
        for i, o, stride in ((3, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)):
            layers += [nn.Conv2d(i, o, 3, stride, padding=1), nn.BatchNorm2d(o), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(4 * width * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


class SixteenLevels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (15 * x).round() / 15


def load_small(name: str, folder: Path) -> nn.Module:
    """The network `name` of NAMES in evaluation mode, trained now if `folder` lacks it."""
    kind = "standard" if name == "masked" else name
    file = folder / f"small-{kind}.safetensors"
    model: nn.Module = SmallCnn()
    if file.exists():
        model.load_state_dict(load_file(file))
    else:
        _train(model, robust=kind == "robust", steps=STEPS[kind])
        save_file(model.state_dict(), file)
    if name == "masked":
        model = nn.Sequential(SixteenLevels(), model)
    return model.eval().requires_grad_(False)


def _train(model: nn.Module, *, robust: bool, steps: int) -> None:
    """Fast adversarial training (arXiv 2001.03994) or plain training, with a falling rate."""
    data = load_dataset("cifar10", "train", limit=10_000)
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(data.labels)
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (128,))
        x, y = images[chosen], labels[chosen]
        if robust:
            delta = (torch.rand_like(x) * 2 - 1) * EPS
            near = (x + delta).clamp(0, 1).requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(near), y), near)
            x = (x + (delta + 1.25 * EPS * gradient.sign()).clamp(-EPS, EPS)).clamp(0, 1)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
