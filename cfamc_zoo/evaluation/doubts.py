"""Reasons to doubt a robust accuracy: what overstated ones have had in common.

Sources: Carlini et al., On Evaluating Adversarial Robustness (arXiv 1902.06705), the checklist;
Athalye et al., Obfuscated Gradients (arXiv 1802.00420), section 3.1; the flags of the public
AutoAttack.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
from cfamc_zoo.evaluation.attacks.gradient import gradient_of
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.robustness import Accuracy, evaluate
from cfamc_zoo.evaluation.victim.batching import gathered
from cfamc_zoo.evaluation.victim.model import Victim, attacked
from cfamc_zoo.zoo.threat import parse_epsilon, threat_of

LOOKED_AT = 32  # images, at most, that the checks run on
NOISE = 1e-4  # of the largest logit: more between two equal calls is randomness
CONTEXT = 1e-2  # of the largest logit: more between an image alone and in its batch is its batch
FEW, MANY = 5, 20  # steps that are compared
SLACK = 2  # images: a smaller difference is chance
PART = 0.002  # of the images, likewise; AutoAttack's own bound


@dataclass(frozen=True)
class Doubt:
    """One reason.

    Attributes:
        name: short, for machines: "zero-gradient".
        text: what was seen and what it may mean.
    """

    name: str
    text: str


def examine(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    eps: str,
    norm: str = "linf",
    seed: int = 0,
    batch_size: int = 64,
) -> list[Doubt]:
    """Looks for reasons in the model, on its first few images that are classified correctly.

    Args:
        model: as given, before anything has put it into evaluation mode.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64.
        eps: the radius that is evaluated.
        batch_size: images at a time, halved when memory runs out.

    Raises:
        DataError, ModelError: as `evaluate`.
    """
    doubts = _modes(model)
    x, y = images[: 4 * LOOKED_AT], labels[: 4 * LOOKED_AT]
    with attacked(model, x, y, classes) as victim:
        stuck = sum(module.training for module in model.modules())
        if stuck:
            doubts.append(
                Doubt(
                    "train-mode",
                    f"{stuck} layers stay in training mode when the model is put into evaluation "
                    "mode; its answers may depend on the batch or on chance",
                )
            )
        first, second = (_logits(victim, x, batch_size) for _ in range(2))
        scale = first.abs().max()
        if (first - second).abs().max() > NOISE * scale:
            doubts.append(
                Doubt(
                    "random",
                    "the model answers the same images differently each time; robust accuracy "
                    "is overstated unless the attack averages over its randomness",
                )
            )
        elif (victim.logits(x[:1]) - first[:1]).abs().max() > CONTEXT * scale:
            doubts.append(
                Doubt(
                    "batch-dependent",
                    "an image's logits depend on the other images of its batch; attack it in "
                    "evaluation mode, with fixed statistics",
                )
            )
        if first.min() >= 0 and ((first.sum(1) - 1).abs() < 1e-4).all():
            doubts.append(
                Doubt(
                    "probabilities",
                    "the outputs look like probabilities; attacks need the logits before softmax",
                )
            )
        right = (first.argmax(1) == y).nonzero()[:LOOKED_AT, 0]
        x, y = x[right], y[right]
        if not len(x):
            return doubts
        flat = int(_flat(model, x, y, batch_size).sum())
        if flat:
            doubts.append(
                Doubt(
                    "zero-gradient",
                    f"{flat} of {len(x)} images have a cross entropy without any gradient; "
                    "attacks that follow gradients say little, look at Square's row",
                )
            )
    return doubts + _checks(
        model, x, y, classes=classes, eps=eps, norm=norm, seed=seed, batch_size=batch_size
    )


def _logits(victim: Victim, x: Tensor, batch_size: int) -> Tensor:
    return gathered(
        len(x), batch_size, lambda rows: victim.logits(x[rows.to(x.device)]), _say_nothing
    )


def _flat(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    """(N,) bool: whether the cross entropy has no gradient at all."""

    def work(rows: Tensor) -> Tensor:
        at = rows.to(x.device)
        point = x[at].requires_grad_()
        losses = F.cross_entropy(model(point.clone()).float(), y[at], reduction="none")
        return gradient_of(losses, point).flatten(1).abs().amax(1) == 0

    return gathered(len(x), batch_size, work, _say_nothing)


def _say_nothing(text: str) -> None:
    """Whom to tell of smaller batches: it has been said when the attack met them."""


def _modes(model: nn.Module) -> list[Doubt]:
    layers = [
        module
        for module in model.modules()
        if module.training
        and isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd)
    ]
    if not layers:
        return []
    return [
        Doubt(
            "train-mode",
            f"the model came in training mode ({len(layers)} layers behave differently in it); "
            "it was attacked in evaluation mode",
        )
    ]


def _checks(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    classes: int,
    eps: str,
    norm: str,
    seed: int,
    batch_size: int,
) -> list[Doubt]:
    """Runs that should end in a known way."""

    def survivors(attack: Pgd | Ensemble, radius: str) -> int:
        rows = evaluate(
            model,
            x,
            y,
            classes=classes,
            attack=attack,
            epsilons=[radius],
            norm=norm,
            seed=seed,
            batch_size=batch_size,
        )
        return sum(c is True for c in rows[-1].correct)

    doubts = []
    few, many = survivors(Pgd(FEW), eps), survivors(Pgd(MANY), eps)
    if many > few + SLACK:
        doubts.append(
            Doubt(
                "more-steps",
                f"{many} of {len(x)} images withstand {MANY} steps of PGD and only {few} withstand "
                f"{FEW}; more steps should never help the model: its gradients mislead",
            )
        )
    whole = threat_of(norm, eps).everything(x[0].numel()).text
    everything = Ensemble("PGD", (Pgd(MANY), Pgd(MANY, loss="margin")))
    left = survivors(everything, whole)
    if left:
        doubts.append(
            Doubt(
                "whole-range",
                f"{left} of {len(x)} images withstand perturbations of the whole range of pixels, "
                "where any image can become any other; the attack is not finding what there is",
            )
        )
    return doubts


def compare(accuracies: list[Accuracy], *, norm: str = "linf") -> list[Doubt]:
    """Looks for reasons in the results.

    Args:
        accuracies: rows of `evaluate`, of one radius or several.
    """
    doubts = []
    robust = [a for a in accuracies if a.attack]
    for name in dict.fromkeys(a.attack for a in robust):
        rows = sorted(
            (a for a in robust if a.attack == name), key=lambda a: parse_epsilon(a.eps, norm)
        )
        for small, large in pairwise(rows):
            if _more(large, small):
                doubts.append(
                    Doubt(
                        "larger-epsilon",
                        f"robust accuracy under {name} grows from {small.value:.1f}% at "
                        f"{small.eps} to {large.value:.1f}% at {large.eps}; a larger ball holds "
                        "the smaller one, so the attack fails",
                    )
                )
    for before, after in pairwise(robust):
        if after.attack == "Square" and before.eps == after.eps and _more(before, after):
            doubts.append(
                Doubt(
                    "black-box",
                    f"at {after.eps} Square, which sees no gradients, brings robust accuracy from "
                    f"{before.value:.1f}% to {after.value:.1f}%; the gradients are masked, a "
                    "stronger attack made for this model may find more",
                )
            )
    return doubts


def _more(a: Accuracy, b: Accuracy) -> bool:
    """Whether more images withstand in `a` than in `b`, by more than chance."""
    difference = sum(c is True for c in a.correct) - sum(c is True for c in b.correct)
    return difference >= SLACK and difference > PART * a.n
