"""One measurement of a classifier from start to end: attack, checks, files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.evaluation.attacks.ensemble import members_of, substitutions
from cfamc_zoo.evaluation.doubts import doubts_of_model, doubts_of_results
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.measurement import Measurement, Table
from cfamc_zoo.evaluation.outputs import save
from cfamc_zoo.evaluation.plan import Plan
from cfamc_zoo.evaluation.reports.accuracy_page import Page, pictures_of, render
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.robustness import Accuracy, accuracies, evaluate
from cfamc_zoo.evaluation.run import Advance, Run
from cfamc_zoo.progress import Say
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.release.folder import Release


class ClassifierMeasurement(Measurement):
    """Clean and robust accuracy, with the reasons to doubt them.

    Args:
        classifier: images in [0, 1] to logits.
        release, data, plan, device: as `Measurement`.
    """

    def __init__(
        self,
        classifier: Classifier,
        release: Release,
        data: LabelledImages,
        plan: Plan,
        device: torch.device,
    ):
        self.classifier = classifier
        self.attack = plan.choice.attack()
        own = {
            "head": plan.asked.head,
            "head_sha256": _head_digest(classifier),
            "feature": classifier.feature,
            "settings": [repr(member) for member in members_of(self.attack)],
        }
        super().__init__(classifier.encoder, release, data, plan, device, own=own)
        self.notes = substitutions(self.attack, len(data.classes)) + self.notes
        self.title = f"{self.attack.name} on {data.name}"
        self.headline = f"{self.model} on {data.name}, {plan.norm}, {device}"

    @property
    def total(self) -> int:
        return len(self.data) * len(self.plan.threats) * len(members_of(self.attack))

    @property
    def begun(self) -> bool:
        return bool(self.ledger.stages)

    def run(self, advance: Advance, say: Say) -> None:
        model, plan = self.classifier.to(self.device), self.plan
        run = Run(plan.seed, plan.batch_size, self.ledger, advance, say)
        data = Examples(
            torch.from_numpy(self.images).to(self.device),
            torch.from_numpy(self.data.labels).to(self.device),
            len(self.data.classes),
        )
        evaluate(model, data, self.attack, plan.threats, run)
        advance(0, "checks of the model")
        self.doubts += doubts_of_model(model, data, plan.threats[0], run)
        self.doubts += doubts_of_results(self.accuracies, plan.threats)

    @property
    def accuracies(self) -> list[Accuracy]:
        return accuracies(self.ledger, self.attack, self.plan.threats)

    def rows(self) -> list[dict[str, Any]]:
        return [a.to_json() for a in self.accuracies]

    def table(self) -> Table:
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

    def save(self, path: Path, adversarial: np.ndarray) -> None:
        last, epsilons = members_of(self.attack)[-1].name, self.plan.epsilons
        save(
            path,
            adversarial,
            parts={"eps": epsilons},
            rows={"label": self.data.labels},
            stands=[(self.ledger.stage(last, e).verdicts == 1).tolist() for e in epsilons],
        )

    def page(self) -> str:
        """Its pictures are those of the largest radius."""
        plan, data, worst = self.plan, self.data, self.attack.name
        assert self.ledger.adversarial is not None
        shown = plan.epsilons[plan.largest]
        verdicts = next(a.correct for a in self.accuracies if a.attack == worst and a.eps == shown)
        page = Page(
            title=f"{self.model} under {worst}, {plan.norm}, on {data.name}",
            facts=facts_of({**self.settings, **environment(self.device)}, self.attack),
            accuracies=self.accuracies,
            worst=worst,
            threats=plan.threats,
            doubts=[d.text for d in self.doubts],
            pictures=pictures_of(
                self.classifier,
                self.images,
                self.ledger.adversarial[plan.largest],
                data.labels,
                data.classes,
                verdicts,
            ),
            command=self.command,
            card=self.card,
        )
        return render(page)


def _head_digest(classifier: Classifier) -> str:
    """sha256 (hex) of what the head reads and knows, the same in every process: the bytes of its
    file are not, since safetensors writes metadata in any order."""
    content = hashlib.sha256(json.dumps([classifier.feature, classifier.classes]).encode())
    for name, tensor in sorted(classifier.head.state_dict().items()):
        content.update(name.encode())
        content.update(tensor.cpu().numpy().tobytes())
    return content.hexdigest()
