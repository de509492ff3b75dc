"""Robust accuracy of any classifier, with the reasons to doubt it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble, substitutions
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.evaluation.choice import Choice
from cfamc_zoo.evaluation.doubts import Doubt, compare, examine
from cfamc_zoo.evaluation.ledger import Ledger
from cfamc_zoo.evaluation.plan import batch_size_on
from cfamc_zoo.evaluation.robustness import Accuracy, Advance, evaluate
from cfamc_zoo.evaluation.target import width_of


@dataclass(frozen=True)
class Assessment:
    """What an attack found. As text: one line an accuracy, a note or a doubt.

    Attributes:
        accuracies: clean, then robust at each radius; the worst case of an ensemble comes last.
        notes: what was run in place of losses that the model's classes do not define, and
            batches that had to be halved.
        doubts: reasons why the robust accuracy may be overstated.
        adversarial: (E, N, C, H, W) float32, one part a radius: what felled an image, else the
            last that was tried.
    """

    accuracies: list[Accuracy]
    notes: list[str]
    doubts: list[Doubt]
    adversarial: np.ndarray

    def __str__(self) -> str:
        lines = []
        for a in self.accuracies:
            low, high = a.interval
            attack = f", {a.attack} {a.eps}" if a.attack else ""
            lines.append(
                f"{a.metric}{attack}: {a.value:.2f}% ({low:.2f}..{high:.2f}), {a.n} images"
            )
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"doubt: {doubt.text}" for doubt in self.doubts]
        return "\n".join(lines)


def assess(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: str | Attack | Ensemble,
    epsilons: Sequence[str],
    norm: str = "linf",
    seed: int = 0,
    batch_size: int | None = None,
    advance: Advance = lambda n, status: None,
) -> Assessment:
    """Attacks a classifier and looks for reasons to doubt what comes out.

    Args:
        model: any module from (N, C, H, W) in [0, 1] to logits, on the images' device.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) integers.
        attack: a name as `cfamc-zoo attack --attack` takes it, or one with settings of your own.
        epsilons: radii in pixels, "8/255" or "0.03".
        norm: "linf" or "l2".
        seed: of all draws; image i draws from (seed, i).
        batch_size: images at a time; None is 128, 512 on a GPU.
        advance: as `evaluate`.

    Raises:
        UsageError: an unknown attack or norm, an impossible radius.
        DataError: images outside [0, 1]; labels that the model does not have or that do not go
            with the images.
        ModelError: the model raises, or returns something else than finite logits.
    """
    if isinstance(attack, str):
        attack = Choice(attack).attack()
    if not epsilons:
        raise UsageError("there is no radius; give at least one, like 8/255")
    labels = labels.long()
    classes = width_of(model, images)
    size = batch_size or batch_size_on(images.device)
    adversarial = images.cpu().numpy()[None].repeat(len(epsilons), 0)
    notes = substitutions(attack, classes)
    accuracies = evaluate(
        model,
        images,
        labels,
        classes=classes,
        attack=attack,
        epsilons=list(epsilons),
        norm=norm,
        seed=seed,
        batch_size=size,
        ledger=Ledger(len(images), adversarial=adversarial),
        advance=advance,
        say=notes.append,
    )
    doubts = examine(
        model,
        images,
        labels,
        classes=classes,
        eps=epsilons[0],
        norm=norm,
        seed=seed,
        batch_size=size,
    )
    return Assessment(accuracies, notes, doubts + compare(accuracies, norm=norm), adversarial)
