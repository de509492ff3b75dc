"""Clean and robust accuracy of a classifier, image by image, with intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble, members_of
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.ledger import STANDS, UNKNOWN, Ledger, Stage
from cfamc_zoo.evaluation.run import PLAIN, Run
from cfamc_zoo.evaluation.victim.batching import in_batches
from cfamc_zoo.evaluation.victim.model import Victim, attacked, device_of
from cfamc_zoo.zoo.threat import Threat


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

    def to_json(self) -> dict[str, Any]:
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
    data: Examples,
    attack: Attack | Ensemble,
    threats: Sequence[Threat],
    run: Run = PLAIN,
) -> list[Accuracy]:
    """Clean accuracy, then robust accuracy at each radius.

    An ensemble's members run one after the other on what still stands; its own row, the worst
    case of each image, comes last.

    Args:
        model: (N, C, H, W) in [0, 1] to (N, classes) logits.
        data: as `Examples.on` takes them.
        attack: what to run against the images that are classified correctly.
        threats: norm and radius, each of another radius.
        run: its `advance` is told of len(data) images for each radius and member, and the
            accuracy so far.

    Raises:
        DataError: images outside [0, 1], labels the model does not have.
        ModelError: the model raises, or returns the wrong width or NaN.
    """
    data = data.on(device_of(model, data.images))
    ledger = run.ledger_of(len(data))
    task = _Task(data, run, ledger)
    try:
        with attacked(model, data.images, data.labels, data.classes) as victim:
            clean = task.look(victim)
            for part, threat in enumerate(threats):
                before = clean
                for member in members_of(attack):
                    stage = ledger.stage(member.name, threat.text)
                    task.attack(victim, member, threat, stage, before, part)
                    before = stage
    finally:
        ledger.flush()
    return accuracies(ledger, attack, threats)


def accuracies(
    ledger: Ledger, attack: Attack | Ensemble, threats: Sequence[Threat]
) -> list[Accuracy]:
    """What a ledger holds, as rows; stages without a single verdict are left out."""
    rows = [accuracy_of("clean accuracy", ledger.stage("", ""))]
    for eps in (threat.text for threat in threats):
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
    """The images, how they are gone through, and what takes it down."""

    data: Examples
    run: Run
    ledger: Ledger

    def look(self, victim: Victim) -> Stage:
        """The images as they are."""
        stage = self.ledger.stage("", "")

        def work(rows: Tensor, _: int) -> None:
            start = time.perf_counter()
            part = self.data.take(rows)
            right = victim.predictions(part.images) == part.labels
            seconds = time.perf_counter() - start
            self.ledger.record(
                stage, rows.numpy(), right.cpu().numpy(), tried=len(rows), seconds=seconds
            )

        self._in_batches(_rows(stage.verdicts == UNKNOWN), work)
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
        self._advance(stage, len(self.data) - len(survivors))

        def work(rows: Tensor, room: int) -> None:
            todo = rows[torch.from_numpy(stage.verdicts[rows.numpy()] == UNKNOWN)]
            if len(todo):
                self._batch(victim, attack, threat, stage, todo, part, room)
            self._advance(stage, len(rows))

        self._in_batches(survivors, work)

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
        data = self.data.take(rows)
        batch = Batch(data.images, data.labels, self.run.seeds(rows), room)
        adversarial = attack.run(victim, batch, threat)
        stands = (victim.predictions(adversarial) == data.labels).cpu().numpy()
        seconds = time.perf_counter() - start
        if self.ledger.adversarial is not None:
            self.ledger.adversarial[part][rows.numpy()] = adversarial.cpu().numpy()
        self.ledger.record(stage, rows.numpy(), stands, tried=len(rows), seconds=seconds)

    def _in_batches(self, rows: Tensor, work: Callable[[Tensor, int], None]) -> None:
        in_batches(rows, self.run.batch_of(self.data.images), work, self.run.say)

    def _advance(self, stage: Stage, n: int) -> None:
        known = stage.verdicts[stage.verdicts != UNKNOWN]
        so_far = f"{100 * (known == STANDS).mean():.1f}%" if len(known) else "-"
        self.run.advance(n, f"{stage.attack} {stage.eps}: robust {so_far}")


def _rows(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(mask.nonzero()[0])
