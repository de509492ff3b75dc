"""One measurement of a classifier from start to end: attack, checks, files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.evaluation.attacks.ensemble import members_of, substitutions
from cfamc_zoo.evaluation.crops import crops_notes, crops_settings
from cfamc_zoo.evaluation.doubts import Doubt, compare, examine
from cfamc_zoo.evaluation.ledger import ledger_for
from cfamc_zoo.evaluation.outputs import save
from cfamc_zoo.evaluation.plan import Plan, Subject
from cfamc_zoo.evaluation.reports.accuracy_page import Page, pictures_of, render
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.robustness import Accuracy, Advance, accuracies, evaluate
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.network.classifier import Classifier


class ClassifierMeasurement:
    """Clean and robust accuracy, with the reasons to doubt them.

    Made ready when constructed, measured by `run`, written by `write`. Where `run` is stopped by
    an error or by a person, `accuracies` and `as_json` hold what was measured until then.

    Args:
        classifier: images in [0, 1] to logits.
        subject: what it is, and the images.
        plan: which attack.
        device: where to work.

    Attributes:
        notes: what a person should know beforehand.
        doubts: found by `run`.

    Raises:
        UsageError, DataError, StorageError: the state cannot be used, as `FileLedger`.
    """

    def __init__(self, classifier: Classifier, subject: Subject, plan: Plan, device: torch.device):
        self.classifier, self.subject, self.plan, self.device = classifier, subject, plan, device
        self.attack = plan.choice.attack()
        encoder = classifier.encoder
        self.settings: dict[str, Any] = {
            "model": subject.model,
            "sha256": subject.sha256,
            "head_sha256": _head_digest(classifier),
            "data": subject.data,
            "data_sha256": subject.digest,
            "head": plan.asked.head,
            "feature": classifier.feature,
            "attack": plan.choice.name,
            **plan.choice.settings(),
            "settings": [repr(member) for member in members_of(self.attack)],
            "norm": plan.norm,
            "eps": plan.epsilons,
            "seed": plan.seed,
            "crops": crops_settings(encoder),
        }
        self.notes = substitutions(self.attack, len(subject.classes)) + crops_notes(encoder)
        self.doubts: list[Doubt] = []
        self._images = subject.inputs()
        self.ledger = ledger_for(
            plan.outputs, key=self.settings, images=self._images, radii=len(plan.epsilons)
        )

    @property
    def title(self) -> str:
        return f"{self.attack.name} on {self.subject.data}"

    @property
    def headline(self) -> str:
        return f"{self.subject.model} on {self.subject.data}, {self.plan.norm}, {self.device}"

    @property
    def legend(self) -> list[str]:
        """What the table's columns mean, for a person: they say it themselves."""
        return []

    @property
    def total(self) -> int:
        """What `run` tells its progress out of."""
        return len(self.subject) * len(self.plan.epsilons) * len(members_of(self.attack))

    @property
    def begun(self) -> bool:
        return bool(self.ledger.stages)

    def run(self, advance: Advance, say: Callable[[str], None]) -> None:
        """Measures what the state does not know yet, then looks for doubts.

        Raises:
            DataError, ModelError, StorageError: as `evaluate`.
        """
        images = torch.from_numpy(self._images).to(self.device)
        labels = torch.from_numpy(self.subject.labels).to(self.device)
        evaluate(
            self.classifier.to(self.device),
            images,
            labels,
            classes=len(self.subject.classes),
            attack=self.attack,
            epsilons=self.plan.epsilons,
            norm=self.plan.norm,
            seed=self.plan.seed,
            batch_size=self.plan.batch(self.device),
            ledger=self.ledger,
            advance=advance,
            say=say,
        )
        advance(0, "checks of the model")
        self.doubts += examine(
            self.classifier,
            images,
            labels,
            classes=len(self.subject.classes),
            eps=self.plan.epsilons[0],
            norm=self.plan.norm,
            seed=self.plan.seed,
            batch_size=self.plan.batch(self.device),
        )
        self.doubts += compare(self.accuracies, norm=self.plan.norm)

    @property
    def accuracies(self) -> list[Accuracy]:
        return accuracies(self.ledger, self.attack, self.plan.epsilons)

    def as_json(self, completeness: str) -> dict[str, Any]:
        return {
            **self.settings,
            "rows": self.subject.rows,
            "command": self.plan.command(self.subject),
            "notes": self.notes,
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "completeness": completeness,
            **environment(self.device),
            "results": [a.as_json() for a in self.accuracies],
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]:
        """Headers, rows, and which columns are numbers."""
        headers = ("metric", "attack", "eps", "%", "95% interval", "images", "seconds")
        rows: list[tuple[str, ...]] = [
            (
                r.metric,
                r.attack or "-",
                r.eps or "-",
                f"{r.value:.2f}",
                f"{r.interval[0]:.2f}..{r.interval[1]:.2f}",
                str(r.n),
                f"{r.seconds:.1f}",
            )
            for r in self.accuracies
        ]
        return headers, rows, (3, 5, 6)

    def write(self) -> None:
        """The files that the plan names.

        Raises:
            StorageError: one cannot be written.
        """
        plan, adversarial = self.plan, self.ledger.adversarial
        if plan.outputs.save is not None and adversarial is not None:
            last = members_of(self.attack)[-1].name
            save(
                plan.outputs.save,
                adversarial,
                parts={"eps": plan.epsilons},
                rows={"label": self.subject.labels},
                stands=[(self.ledger.stage(last, e).verdicts == 1).tolist() for e in plan.epsilons],
            )
        if plan.outputs.report is not None:
            page = render(self._page())
            with atomic_file(plan.outputs.report) as temporary:
                temporary.write_text(page, encoding="utf-8")

    def _page(self) -> Page:
        """Its pictures are those of the largest radius."""
        plan, subject, worst = self.plan, self.subject, self.attack.name
        assert self.ledger.adversarial is not None
        shown = plan.epsilons[plan.largest]
        verdicts = next(a.correct for a in self.accuracies if a.attack == worst and a.eps == shown)
        return Page(
            title=f"{subject.model} under {worst}, {plan.norm}, on {subject.data}",
            facts=facts_of({**self.settings, **environment(self.device)}, self.attack),
            accuracies=self.accuracies,
            worst=worst,
            norm=plan.norm,
            doubts=[d.text for d in self.doubts],
            pictures_eps=shown,
            pictures=pictures_of(
                self.classifier,
                self._images,
                self.ledger.adversarial[plan.largest],
                subject.labels,
                subject.classes,
                verdicts,
            ),
            command=plan.command(subject),
            card=subject.card,
        )


def _head_digest(classifier: Classifier) -> str:
    """sha256 (hex) of what the head reads and knows, the same in every process: the bytes of its
    file are not, since safetensors writes metadata in any order."""
    content = hashlib.sha256(json.dumps([classifier.feature, classifier.classes]).encode())
    for name, tensor in sorted(classifier.head.state_dict().items()):
        content.update(name.encode())
        content.update(tensor.cpu().numpy().tobytes())
    return content.hexdigest()
