"""The step of the paper's public code (softsys4ai/CF-AMC-SSL), run from a copy of it.

Its network, losses, optimizer and Pillow augmentation are imported from that folder; the loop
is that of its main_empssl_free_adv.py, with every CPU core as a worker.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cfamc_zoo.training.recipe import Recipe


class Images(Dataset):
    """What its data set yields: a list of crops, and a label."""

    def __init__(self, images: np.ndarray, transform, length: int):  # type: ignore[no-untyped-def]
        self.images, self.transform, self.length = images, transform, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int):  # type: ignore[no-untyped-def]
        return self.transform(Image.fromarray(self.images[i % len(self.images)])), 0


class ReferenceStep:
    """One batch, m replays."""

    def __init__(self, folder: Path, recipe: Recipe, images: np.ndarray, device: torch.device):
        sys.path.insert(0, str(folder))
        from dataset.aug import ContrastiveLearningViewGenerator
        from lars import LARSWrapper
        from loss import TotalCodingRate
        from model.model import encoder

        self.recipe, self.device = recipe, device
        views = recipe.views
        transform = ContrastiveLearningViewGenerator(views.count, *views.scale, *views.ratio)
        self.net = nn.DataParallel(encoder(arch="resnet18-cifar")).to(device)
        sgd = torch.optim.SGD(
            self.net.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-4, nesterov=True
        )
        self.optimizer = LARSWrapper(sgd, eta=0.005, clip=True, exclude_bias_n_norm=True)
        self.coding_rate = TotalCodingRate(eps=0.2)
        loader = DataLoader(
            Images(images, transform, 10**6),
            batch_size=recipe.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=os.cpu_count() or 1,
        )
        self.batches = iter(loader)
        self.delta: torch.Tensor | None = None

    def step(self, number: int) -> None:
        n = self.recipe.views.count
        data = torch.cat(next(self.batches)[0], dim=0)
        if self.delta is None:
            self.delta = torch.zeros_like(data, requires_grad=True)
        delta = self.delta
        for _ in range(self.recipe.replays):
            self.optimizer.zero_grad()
            z = self.net((data + delta).to(self.device))
            parts = z.chunk(n, dim=0)
            mean = torch.stack(parts).mean(0)
            similar = sum(nn.functional.cosine_similarity(p, mean, dim=1).mean() for p in parts)
            rate = sum(self.coding_rate(p) for p in parts) / n
            (200 * -similar / n + rate).backward()
            self.optimizer.step()
            assert delta.grad is not None
            moved = (delta + 0.01 * delta.grad.detach().sign()).clamp(-8 / 255, 8 / 255)
            delta.data = torch.clamp(data + moved, min=0, max=1) - data
            delta.grad.zero_()
