"""Clean and robust accuracy of a classifier, image by image, with intervals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cfamc_zoo.evaluation.arguments import images_of, labels_of
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble, members_of
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.ledger import STANDS, UNKNOWN, Ledger, Stage
from cfamc_zoo.evaluation.victim.batching import in_batches
from cfamc_zoo.evaluation.victim.model import Victim, attacked, device_of
from cfamc_zoo.zoo.threat import Threat, threat_of

Advance = Callable[[int, str], None]


@dataclass(frozen=True)
class Accuracy:
    """One measured accuracy.

    Attributes:
        metric: "clean accuracy" or "robust accuracy".
        attack: its name, "" for the clean one. A member of an ensemble stands for all members
            up to it, since it attacks only what they left.
        eps: as it was given, "8/255"; "" for the clean one.
        correct: one verdict an image, in the order of the images; None where an interrupted
            measurement has none.
        seconds: what it took.
        tried: images that the attack was run on.
    """

    metric: str
    attack: str
    eps: str
    correct: list[bool | None] = field(repr=False)
    seconds: float
    tried: int = 0

    @property
    def n(self) -> int:
        """Images with a verdict."""
        return sum(c is not None for c in self.correct)

    @property
    def value(self) -> float:
        """Percent of these."""
        return 100 * sum(c is True for c in self.correct) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval, percent."""
        low, high = wilson(sum(c is True for c in self.correct), self.n)
        return 100 * low, 100 * high

    def as_json(self) -> dict[str, Any]:
        """As results record it."""
        low, high = self.interval
        return {
            "metric": self.metric,
            "attack": self.attack,
            "eps": self.eps,
            "n": self.n,
            "value": self.value,
            "low": low,
            "high": high,
            "attacked": self.tried if self.attack else 0,
            "seconds": round(self.seconds, 3),
            "correct": self.correct,
        }


def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    attack: Attack | Ensemble,
    epsilons: list[str],
    norm: str = "linf",
    seed: int = 0,
    batch_size: int = 64,
    ledger: Ledger | None = None,
    advance: Advance = lambda n, status: None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Accuracy]:
    """Clean accuracy, then robust accuracy at each radius.

    An ensemble's members run one after the other on what still stands; its own row, the worst
    case of each image, comes last.

    Args:
        model: (N, C, H, W) in [0, 1] to (N, classes) logits, on the images' device.
        images: (N, C, H, W) in [0, 1], as `images_of` takes them.
        labels: as `labels_of` takes them.
        classes: number of logits.
        attack: what to run against the images that are classified correctly.
        epsilons: radii in pixels, "8/255" or "0.03".
        norm: "linf" or "l2".
        seed: of all draws; image i draws from (seed, i).
        batch_size: images at a time; halved when memory runs out.
        ledger: takes down every verdict; what it knows already is not measured again.
        advance: told after each batch how many images are done, of len(images) for each radius
            and member, and the accuracy so far.
        say: told what a person should know.

    Raises:
        UsageError: an impossible radius or an unknown norm.
        DataError: images outside [0, 1], labels the model does not have.
        ModelError: the model raises, or returns the wrong width or NaN.
    """
    threats = [threat_of(norm, eps) for eps in epsilons]
    images = images_of(images, device_of(model, images))
    labels = labels_of(labels, count=len(images), classes=classes, device=images.device)
    ledger = ledger or Ledger(len(images))
    task = _Task(images, labels, seed, batch_size, ledger, advance, say)
    try:
        with attacked(model, images, labels, classes) as victim:
            clean = task.look(victim)
            for part, (eps, threat) in enumerate(zip(epsilons, threats, strict=True)):
                before = clean
                for member in members_of(attack):
                    stage = ledger.stage(member.name, eps)
                    task.attack(victim, member, threat, stage, before, part)
                    before = stage
    finally:
        ledger.flush()
    return accuracies(ledger, attack, epsilons)


def accuracies(ledger: Ledger, attack: Attack | Ensemble, epsilons: list[str]) -> list[Accuracy]:
    """What a ledger holds, as rows; stages without a single verdict are left out."""
    rows = [accuracy_of("clean accuracy", ledger.stage("", ""))]
    for eps in epsilons:
        members = [
            accuracy_of("robust accuracy", ledger.stages[m.name, eps])
            for m in members_of(attack)
            if (m.name, eps) in ledger.stages
        ]
        rows += members
        if isinstance(attack, Ensemble) and len(members) == len(attack.members):
            seconds = sum(m.seconds for m in members)
            worst = members[-1]
            rows.append(
                Accuracy(worst.metric, attack.name, eps, worst.correct, seconds, members[0].tried)
            )
    return [row for row in rows if row.n]


def accuracy_of(metric: str, stage: Stage) -> Accuracy:
    """A stage as a row."""
    correct = [None if v == UNKNOWN else v == STANDS for v in stage.verdicts.tolist()]
    return Accuracy(metric, stage.attack, stage.eps, correct, stage.seconds, stage.tried)


@dataclass
class _Task:
    """The images, and how they are gone through."""

    images: Tensor
    labels: Tensor
    seed: int
    batch_size: int
    ledger: Ledger
    advance: Advance
    say: Callable[[str], None]

    def look(self, victim: Victim) -> Stage:
        """The images as they are."""
        stage = self.ledger.stage("", "")

        def work(rows: Tensor, _: int) -> None:
            start = time.perf_counter()
            chosen = rows.to(self.images.device)
            right = victim.predictions(self.images[chosen]) == self.labels[chosen]
            seconds = time.perf_counter() - start
            self.ledger.record(
                stage, rows.numpy(), right.cpu().numpy(), tried=len(rows), seconds=seconds
            )

        in_batches(_rows(stage.verdicts == UNKNOWN), self.batch_size, work, self.say)
        return stage

    def attack(
        self,
        victim: Victim,
        attack: Attack,
        threat: Threat,
        stage: Stage,
        before: Stage,
        part: int,
    ) -> None:
        """One attack at one radius on what stood before."""
        # The same division as in a run that was never interrupted, whatever is done already:
        # so its verdicts are the same to the last bit.
        survivors = _rows(before.verdicts == STANDS)
        lost = (before.verdicts != STANDS) & (stage.verdicts == UNKNOWN)
        rows = lost.nonzero()[0]
        self.ledger.record(stage, rows, np.zeros(len(rows), bool), tried=0, seconds=0)
        self._advance(stage, len(self.images) - len(survivors))

        def work(rows: Tensor, room: int) -> None:
            todo = rows[torch.from_numpy(stage.verdicts[rows.numpy()] == UNKNOWN)]
            if len(todo):
                self._batch(victim, attack, threat, stage, todo, part, room)
            self._advance(stage, len(rows))

        in_batches(survivors, self.batch_size, work, self.say)

    def _batch(
        self,
        victim: Victim,
        attack: Attack,
        threat: Threat,
        stage: Stage,
        rows: Tensor,
        part: int,
        room: int,
    ) -> None:
        start = time.perf_counter()
        chosen = rows.to(self.images.device)
        x, y = self.images[chosen], self.labels[chosen]
        seeds = [self.seed * 2**32 + i for i in rows.tolist()]
        batch = Batch(x, y, seeds, room)
        adversarial = attack.run(victim, batch, threat)
        stands = (victim.predictions(adversarial) == y).cpu().numpy()
        seconds = time.perf_counter() - start
        if self.ledger.adversarial is not None:
            self.ledger.adversarial[part][rows.numpy()] = adversarial.cpu().numpy()
        self.ledger.record(stage, rows.numpy(), stands, tried=len(rows), seconds=seconds)

    def _advance(self, stage: Stage, n: int) -> None:
        known = stage.verdicts[stage.verdicts != UNKNOWN]
        so_far = f"{100 * (known == STANDS).mean():.1f}%" if len(known) else "-"
        self.advance(n, f"{stage.attack} {stage.eps}: robust {so_far}")


def _rows(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(mask.nonzero()[0])
