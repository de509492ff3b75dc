"""What attacks maximize. Each is one number an image, higher nearer to a wrong answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

LossName = Literal["ce", "margin", "dlr"]
DLR, TARGETED_DLR = 3, 4  # classes that these need


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(N, C) and (N,) to (N,): -log softmax of the label."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The best other logit minus the label's: positive where the image is misclassified.

    Source: Carlini and Wagner (arXiv 1608.04644), f6 without its constant.
    """
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - logits.gather(1, labels[:, None])[:, 0]


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio: the margin over the spread of the three best logits.

    Invariant to the scale of the logits, so that it has a gradient where the cross entropy's
    vanishes. Needs three classes. Source: Croce and Hein (arXiv 2003.01690), equation 6.
    """
    best = logits.topk(3, dim=1).values
    return margin(logits, labels) / (best[:, 0] - best[:, 2] + 1e-12)


def difference(logits: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
    """The rival's logit minus the label's. Defined from two classes on."""
    return (logits.gather(1, rivals[:, None]) - logits.gather(1, labels[:, None]))[:, 0]


def targeted_dlr(logits: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
    """The difference to one rival over the spread of the four best logits.

    Needs four classes. Source: Croce and Hein (arXiv 2003.01690), equation 7.
    """
    best = logits.topk(4, dim=1).values
    spread = best[:, 0] - (best[:, 2] + best[:, 3]) / 2
    return difference(logits, labels, rivals) / (spread + 1e-12)


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
}


def rivals_of(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """(N, C) and (N,) to (N, min(count, C - 1)): the other classes, the likeliest first."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices


def fewer_rivals(count: int, classes: int) -> list[str]:
    """A sentence for results, where there are not so many other classes."""
    if count < classes:
        return []
    return [f"all {classes - 1} wrong classes were targets, fewer than the usual {count}"]
