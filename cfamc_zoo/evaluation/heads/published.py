"""The linear head of the paper's public evaluation script, to compare under its own protocol.

Its script (softsys4ai/CF-AMC-SSL, evaluate_empssl.py): two epochs on clean features, two on
features of 5-step PGD images, two clean again, one Adam throughout; batches of 256, the last
incomplete one dropped. Attacks start at the image and step by 0.01.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.heads.linear import network_input
from cfamc_zoo.zoo.device import fast_dtype
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.multicrop import MultiCrop
from cfamc_zoo.zoo.threat import Linf

EPOCHS = ("clean", "clean", "attacked", "attacked", "clean", "clean")
BATCH = 256
RATE = 3e-4  # of Adam
THREAT, STEP, STEPS = Linf.of("8/255"), 0.01, 5  # of the attack on the head in training


def fit_published_head(
    encoder: Encoder | MultiCrop,
    feature: str,
    images: np.ndarray | Tensor,
    clean: Tensor,
    labels: Tensor,
    classes: int,
    *,
    seed: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> nn.Linear:
    """Trains a head by the published schedule.

    Args:
        encoder: frozen, in evaluation mode.
        images: training images, as `network_input` takes them.
        clean: (N, D) float32, their features.
        labels: (N,) int64.
        advance: told how many images were seen.

    Raises:
        DataError: fewer images than one batch.
    """
    if len(images) < BATCH:
        raise DataError(f"{len(images)} images are fewer than the protocol's batch of {BATCH}")
    device = clean.device
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    head = nn.Linear(clean.shape[1], classes).to(device)
    optimizer = torch.optim.Adam(head.parameters(), lr=RATE)
    for kind in EPOCHS:
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(BATCH)[: len(order) // BATCH]:
            y = labels[chosen.to(device)]
            features = clean[chosen.to(device)]
            if kind == "attacked":
                x = network_input(images[chosen.numpy()], device)
                x = x + _attack(encoder, head, feature, x, y)
                with torch.no_grad():
                    features = encoder(x, feature)
            optimizer.zero_grad()
            F.cross_entropy(head(features), y).backward()
            optimizer.step()
            advance(len(chosen))
    return head.eval().requires_grad_(False)


def _attack(encoder: nn.Module, head: nn.Linear, feature: str, x: Tensor, y: Tensor) -> Tensor:
    """The perturbation after all steps, searched in the device's fast precision."""
    dtype = fast_dtype(x.device)
    delta = torch.zeros_like(x)
    for _ in range(STEPS):
        point = (x + delta).requires_grad_()
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            logits = head(encoder(point, feature))
        loss = F.cross_entropy(logits.float(), y)
        (gradient,) = torch.autograd.grad(loss, point)
        delta = THREAT.project(x, delta + STEP * THREAT.steepest(gradient))
    return delta
