"""A linear head on frozen features: multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.multicrop import MultiCrop

DECAYS = (1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # of the weights on standardized features
HELD_OUT = 0.1  # part of the training images that chooses among them
# Part of the best clean accuracy that a head chosen for robustness must keep. Set with the held-out
# accuracies and one clean test accuracy of an earlier encoder in view, before the present
# resnet18-thin-cifar10-free was trained.
KEPT = 0.95


@dataclass(frozen=True)
class Probe:
    """A fitted head.

    Attributes:
        head: features to logits; standardization is folded into its weights.
        decay: the weight decay that the held-out training images chose.
        held_out: their accuracy, percent, by decay.
        held_out_robust: under attack, for those that were asked about.
    """

    head: nn.Linear
    decay: float
    held_out: dict[float, float]
    held_out_robust: dict[float, float]


def network_input(images: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """(N, 3, S, S) float32 in [0, 1] on the device.

    Args:
        images: (N, S, S, 3) uint8, or (N, 3, S, S) floating point in [0, 1].
    """
    x = torch.as_tensor(images).to(device)
    # Permuted images are channels-last already.
    return x.permute(0, 3, 1, 2).float() / 255 if x.dtype == torch.uint8 else x.float()


@torch.no_grad()
def extract(
    encoder: Encoder | MultiCrop,
    images: np.ndarray | Tensor,
    feature: str,
    *,
    device: torch.device,
    batch_size: int = 64,
    advance: Callable[[int], None] = lambda n: None,
) -> Tensor:
    """Features of many images.

    Args:
        encoder: in evaluation mode, on `device`.
        images: as `network_input` takes them.
        feature: as `Encoder.forward` takes it.

    Returns:
        (N, D) float32 on the device.
    """
    layout = getattr(torch, encoder.architecture.layout(device.type))
    network = encoder.to(memory_format=layout)
    features = torch.empty(len(images), encoder.architecture.dimension(feature), device=device)
    for first in range(0, len(images), batch_size):
        x = network_input(images[first : first + batch_size], device)
        features[first : first + len(x)] = network(x, feature)
        advance(len(x))
    return features


def fit_probe(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    seed: int = 0,
    decays: tuple[float, ...] = DECAYS,
    robust: Callable[[nn.Linear, Tensor], float] | None = None,
) -> Probe:
    """Chooses the weight decay on held-out training images, then fits all of them.

    A strongly decayed head is less accurate on clean images and more under attack. Without
    `robust` the most accurate one is taken; with it the most robust of those that keep 95% of
    the best clean accuracy.

    Args:
        features: (N, D) float32.
        labels: (N,) int64 in 0..classes-1.
        classes: number of classes.
        seed: of the split.
        decays: candidates; the objective is the mean cross entropy + decay / 2 |W|^2, on
            standardized features, the bias not decayed.
        robust: given a head and (H,) indices of the held-out images, their accuracy under
            attack in percent.

    Raises:
        DataError: fewer than two images, or a label out of range.
    """
    if len(features) < 2:
        raise DataError(f"a probe needs at least 2 training images, got {len(features)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"labels are in {int(labels.min())}..{int(labels.max())}, not 0..{classes - 1}"
        )
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    order = order.to(features.device)
    held, kept = order.tensor_split([max(1, int(HELD_OUT * len(order)))])
    mean, scale = features.mean(0), features.std(0) + 1e-6

    fitted = _by_decay((features[kept] - mean) / scale, labels[kept], classes, decays)
    heads = {decay: _head(weights, mean, scale) for decay, weights in fitted.items()}
    clean = {
        decay: 100 * (head(features[held]).argmax(1) == labels[held]).float().mean().item()
        for decay, head in heads.items()
    }
    attacked = {}
    if robust is not None:
        enough = KEPT * max(clean.values())
        accurate = (decay for decay, accuracy in clean.items() if accuracy >= enough)
        attacked = {decay: robust(heads[decay], held) for decay in accurate}
    scores = attacked or clean
    best = max(scores, key=lambda decay: (scores[decay], decay))  # ties: the stronger

    x = (features - mean) / scale
    weights = logistic_regression(x, labels, classes, best, fitted[best])
    return Probe(_head(weights, mean, scale), best, clean, attacked)


def _by_decay(x: Tensor, y: Tensor, classes: int, decays: tuple[float, ...]) -> dict[float, Tensor]:
    """Weights as `logistic_regression` returns them, by decay."""
    fitted: dict[float, Tensor] = {}
    start = None
    for decay in sorted(decays, reverse=True):  # strong first: each starts from the last
        fitted[decay] = start = logistic_regression(x, y, classes, decay, start)
    return fitted


def _head(weights: Tensor, mean: Tensor, scale: Tensor) -> nn.Linear:
    """(classes, D + 1) weights on standardized features as a layer on the features."""
    classes, columns = weights.shape
    head = nn.Linear(columns - 1, classes, device=weights.device)
    with torch.no_grad():
        matrix = weights[:, :-1] / scale
        head.weight.copy_(matrix)
        head.bias.copy_(weights[:, -1] - matrix @ mean)
    return head.eval().requires_grad_(False)


def logistic_regression(
    x: Tensor, y: Tensor, classes: int, decay: float, start: Tensor | None = None
) -> Tensor:
    """Minimizes mean cross entropy + decay / 2 |W|^2 by L-BFGS.

    Args:
        x: (N, D) standardized features.
        y: (N,) int64.
        start: (classes, D + 1) weights to start from, else zeros.

    Returns:
        (classes, D + 1): weights and, last, the bias.
    """
    weights = torch.zeros(classes, x.shape[1] + 1, dtype=x.dtype, device=x.device)
    if start is not None:
        weights.copy_(start)
    weights.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=150,
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        matrix, bias = weights[:, :-1], weights[:, -1]
        loss = F.cross_entropy(x @ matrix.T + bias, y) + decay / 2 * matrix.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach()
