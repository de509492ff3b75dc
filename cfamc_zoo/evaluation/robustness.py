"""Clean and robust accuracy of a classifier, image by image, with intervals."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.pgd import Pgd
from cfamc_zoo.evaluation.target import Target, attacked
from cfamc_zoo.zoo.threat import Linf, parse_epsilon


@dataclass(frozen=True)
class Accuracy:
    """One measured accuracy.

    Attributes:
        metric: "clean accuracy" or "robust accuracy".
        attack: its name, "" for the clean one.
        eps: as it was given, "8/255"; "" for the clean one.
        correct: one verdict an image, in the order of the images.
        seconds: what it took.
    """

    metric: str
    attack: str
    eps: str
    correct: list[bool]
    seconds: float

    @property
    def n(self) -> int:
        return len(self.correct)

    @property
    def value(self) -> float:
        """Percent."""
        return 100 * sum(self.correct) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval, percent."""
        low, high = wilson(sum(self.correct), self.n)
        return 100 * low, 100 * high


def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    attack: Pgd,
    epsilons: list[str],
    seed: int = 0,
    batch_size: int = 64,
    advance: Callable[[int, str], None] = lambda n, status: None,
) -> list[Accuracy]:
    """Clean accuracy, then robust accuracy at each radius.

    Args:
        model: (N, 3, S, S) in [0, 1] to (N, classes) logits, on the images' device.
        images: (N, 3, S, S) float32 in [0, 1].
        labels: (N,) int64.
        classes: number of logits.
        attack: what to run against the images that are classified correctly.
        epsilons: radii in pixels, "8/255" or "0.03".
        seed: of the random starts; image i draws from (seed, i).
        batch_size: images at a time.
        advance: told after each batch how many images are done and the accuracy so far.

    Raises:
        UsageError: an impossible radius.
        DataError: images outside [0, 1], labels the model does not have.
        ModelError: the model raises, or returns the wrong width or NaN.
    """
    threats = [Linf(parse_epsilon(eps)) for eps in epsilons]
    with attacked(model, images, labels, classes) as target:
        start = time.perf_counter()
        clean = _clean(target, images, labels, batch_size)
        results = [Accuracy("clean accuracy", "", "", clean.tolist(), time.perf_counter() - start)]
        for eps, threat in zip(epsilons, threats, strict=True):
            start = time.perf_counter()
            robust = clean.clone()
            for first in range(0, len(images), batch_size):
                batch = torch.arange(first, min(first + batch_size, len(images)))
                # An image that is misclassified as it is needs no attack.
                chosen = batch[clean[batch]].to(images.device)
                if len(chosen):
                    x, y = images[chosen], labels[chosen]
                    seeds = [seed * 2**32 + i for i in chosen.tolist()]
                    adversarial = attack.run(target, x, y, threat, seeds=seeds)
                    robust[chosen.cpu()] = (target.predictions(adversarial) == y).cpu()
                done = robust[: int(batch[-1]) + 1]
                advance(len(batch), f"{eps}: robust {100 * done.float().mean():.1f}%")
            seconds = time.perf_counter() - start
            results.append(Accuracy("robust accuracy", attack.name, eps, robust.tolist(), seconds))
    return results


def _clean(target: Target, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    """(N,) bool on the CPU."""
    parts = [
        target.predictions(images[i : i + batch_size]) == labels[i : i + batch_size]
        for i in range(0, len(images), batch_size)
    ]
    return torch.cat(parts).cpu()


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and device, as results record them."""
    from cfamc_zoo import __version__

    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "versions": {
            "cfamc-zoo": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "device": f"{device.type}: {name}",
    }
