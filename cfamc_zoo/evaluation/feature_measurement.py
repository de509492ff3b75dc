"""One measurement of an encoder without labels from start to end: attack, measures, files."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.evaluation.crops import crops_notes, crops_settings
from cfamc_zoo.evaluation.doubts import Doubt
from cfamc_zoo.evaluation.features import (
    FeatureReader,
    FeatureRobustness,
    evaluate_features,
    partners,
)
from cfamc_zoo.evaluation.ledger import ledger_for
from cfamc_zoo.evaluation.outputs import save
from cfamc_zoo.evaluation.plan import Plan, Subject
from cfamc_zoo.evaluation.reports.accuracy_page import Picture, shown_of
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.reports.vector_page import VectorPage, render_vectors
from cfamc_zoo.evaluation.robustness import Advance
from cfamc_zoo.zoo.device import environment

LEGEND = (
    "no labels were used, and nothing here is a robust accuracy; of {n:,} images, compared with "
    "each other:",
    "pushed: how far the median image can be moved from its own vector, as the part of all pairs "
    "of images that are at most so far apart (0.5: as far as a typical pair)",
    "pulled: how near the median image can be brought to a random other one, as the same part "
    "(near 0: it passes for the other)",
    "breakaway: how often a random other image is nearer to a pushed one than its own clean self",
    "overlap: how often, of two images pulled towards each other, the other comes nearer to an "
    "image than the image itself stays",
    "top-1: how often a search among these {n:,} images with a pushed one still finds itself",
)


class FeatureMeasurement:
    """How far vectors are moved. Used as `ClassifierMeasurement`.

    Args:
        reader: images in [0, 1] to vectors.
        subject: what it is, and the images; labels are not needed.
        plan: which attack.
        device: where to work.
    """

    def __init__(
        self,
        reader: FeatureReader,
        subject: Subject,
        plan: Plan,
        device: torch.device,
    ):
        self.reader, self.subject, self.plan, self.device = reader, subject, plan, device
        self.attack = plan.choice.feature_attack()
        self.settings: dict[str, Any] = {
            "model": subject.model,
            "sha256": subject.sha256,
            "data": subject.data,
            "data_sha256": subject.digest,
            "attack": plan.choice.name,
            "feature": reader.feature,
            **plan.choice.settings(),
            "norm": plan.norm,
            "eps": plan.epsilons,
            "seed": plan.seed,
            "crops": crops_settings(reader.encoder),
        }
        self.notes = crops_notes(reader.encoder)
        self.doubts: list[Doubt] = []
        self.results: list[FeatureRobustness] = []
        self._images = subject.inputs()
        self.ledger = ledger_for(
            plan.outputs, key=self.settings, images=self._images, radii=2 * len(plan.epsilons)
        )

    @property
    def title(self) -> str:
        return f"{self.reader.feature} of {self.subject.data}"

    @property
    def headline(self) -> str:
        return (
            f"{self.reader.feature} of {self.subject.model} on {self.subject.data}, "
            f"{self.plan.norm}, {self.attack.distance}"
        )

    @property
    def legend(self) -> list[str]:
        """What the table's columns mean, for a person."""
        return [line.format(n=len(self.subject)) for line in LEGEND]

    @property
    def total(self) -> int:
        return 2 * len(self.subject) * len(self.plan.epsilons)

    @property
    def begun(self) -> bool:
        """Whether a whole radius is there: most measures need all images."""
        return bool(self.results)

    def run(self, advance: Advance, say: Callable[[str], None]) -> None:
        """Measures what the state does not know yet.

        Raises:
            DataError, ModelError, StorageError: as `evaluate_features`.
        """
        for result in evaluate_features(
            self.reader.to(self.device),
            torch.from_numpy(self._images).to(self.device),
            attack=self.attack,
            epsilons=self.plan.epsilons,
            norm=self.plan.norm,
            seed=self.plan.seed,
            batch_size=self.plan.batch(self.device),
            ledger=self.ledger,
            advance=advance,
            say=say,
        ):
            self.results.append(result)

    def as_json(self, completeness: str) -> dict[str, Any]:
        return {
            **self.settings,
            "rows": self.subject.rows,
            "command": self.plan.command(self.subject),
            "notes": self.notes,
            "completeness": completeness,
            **environment(self.device),
            "results": [_row(r) for r in self.results],
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]:
        """Headers, rows, and which columns are numbers."""
        headers = (
            "eps",
            "pushed",
            "pulled",
            "breakaway %",
            "overlap %",
            "top-1 %",
            "95%",
            "images",
        )
        rows: list[tuple[str, ...]] = [
            (
                r.eps,
                f"{median(r.push_quantiles):.3f}",
                f"{median(r.pull_quantiles):.3f}",
                f"{100 * r.breakaway_risk:.3f}",
                f"{100 * r.overlap_risk:.2f}",
                f"{r.retrieval[0]:.2f}",
                f"{r.retrieval[1]:.2f}..{r.retrieval[2]:.2f}",
                str(len(r.retrieved)),
            )
            for r in self.results
        ]
        return headers, rows, (1, 2, 3, 4, 5, 7)

    def write(self) -> None:
        """The files that the plan names. Of each radius come the pushed images, then the pulled.

        Raises:
            StorageError: one cannot be written.
        """
        plan, adversarial, n = self.plan, self.ledger.adversarial, len(self.subject)
        if plan.outputs.save is not None and adversarial is not None:
            left, right = partners(n, plan.seed)
            partner = np.full(n, -1, np.int64)  # of the one without, if n is odd
            partner[left], partner[right] = right, left
            parts = [(kind, eps) for eps in plan.epsilons for kind in ("push", "pull")]
            labels = {"label": self.subject.labels} if self.subject.classes else {}
            save(
                plan.outputs.save,
                adversarial,
                parts={"attack": [k for k, _ in parts], "eps": [e for _, e in parts]},
                rows={"partner": partner, **labels},
                stands=[(self.ledger.stage(*part).verdicts == 1).tolist() for part in parts],
            )
        if plan.outputs.report is not None:
            page = render_vectors(self._page())
            with atomic_file(plan.outputs.report) as temporary:
                temporary.write_text(page, encoding="utf-8")

    def _page(self) -> VectorPage:
        """Its pictures are the pushed images of the largest radius."""
        plan, subject = self.plan, self.subject
        return VectorPage(
            title=f"How far vectors of {subject.model} move: {self.reader.feature} under "
            f"{self.attack.steps} steps of label-free PGD, {plan.norm}, on {subject.data}",
            facts=facts_of({**self.settings, **environment(self.device)}, self.attack),
            results=self.results,
            norm=plan.norm,
            pictures_eps=plan.epsilons[plan.largest],
            pictures=self._pictures(),
            command=plan.command(subject),
            card=subject.card,
        )

    def _pictures(self) -> list[Picture]:
        """Each image, and as whose it is found before and after."""
        assert self.ledger.adversarial is not None
        result = self.results[self.plan.largest]
        pushed = self.ledger.adversarial[2 * self.plan.largest]
        return [
            Picture(
                self._images[i],
                pushed[i],
                f"image {i}",
                f"image {i}",
                f"image {result.nearest[i]}",
            )
            for i in shown_of(list(result.retrieved))
        ]


def _row(r: FeatureRobustness) -> dict[str, Any]:
    value, low, high = r.retrieval
    return {
        "eps": r.eps,
        "n": len(r.retrieved),
        "push_median_universal_quantile": median(r.push_quantiles),
        "pull_median_universal_quantile": median(r.pull_quantiles),
        "push_median_distance": median(r.push_distances),
        "pull_median_distance": median(r.pull_distances),
        "pair_distance_quantiles": dict(zip(("10%", "50%", "90%"), r.typical, strict=True)),
        "breakaway_risk": r.breakaway_risk,
        "overlap_risk": r.overlap_risk,
        "retrieval_top1": value,
        "low": low,
        "high": high,
        "seconds": round(r.seconds, 3),
    }
