"""One measurement of an encoder without labels from start to end: attack, measures, files."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.evaluation.features import (
    FeatureReader,
    FeatureRobustness,
    evaluate_features,
    partners,
)
from cfamc_zoo.evaluation.measurement import Measurement, Table
from cfamc_zoo.evaluation.outputs import save
from cfamc_zoo.evaluation.plan import Plan
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.reports.page import Picture, shown_of
from cfamc_zoo.evaluation.reports.vector_page import VectorPage, render_vectors
from cfamc_zoo.evaluation.run import Advance, Run
from cfamc_zoo.progress import Say
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.release.folder import Release

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


class FeatureMeasurement(Measurement):
    """How far vectors are moved.

    Args:
        reader: images in [0, 1] to vectors.
        release, data, plan, device: as `Measurement`; labels are not needed.
    """

    def __init__(
        self,
        reader: FeatureReader,
        release: Release,
        data: LabelledImages,
        plan: Plan,
        device: torch.device,
    ):
        self.reader = reader
        self.attack = plan.choice.feature_attack()
        self.results: list[FeatureRobustness] = []
        own = {"feature": reader.feature}
        super().__init__(reader.encoder, release, data, plan, device, own=own, parts=2)
        self.title = f"{reader.feature} of {data.name}"
        self.headline = (
            f"{reader.feature} of {self.model} on {data.name}, {plan.norm}, {self.attack.distance}"
        )
        self.legend = tuple(line.format(n=len(data)) for line in LEGEND)

    @property
    def total(self) -> int:
        return 2 * len(self.data) * len(self.plan.threats)

    @property
    def begun(self) -> bool:
        """Whether a whole radius is there: most measures need all images."""
        return bool(self.results)

    def run(self, advance: Advance, say: Say) -> None:
        reader, plan = self.reader.to(self.device), self.plan
        images = torch.from_numpy(self.images).to(self.device)
        run = Run(plan.seed, plan.batch_size, self.ledger, advance, say)
        for result in evaluate_features(reader, images, self.attack, plan.threats, run):
            self.results.append(result)

    def rows(self) -> list[dict[str, Any]]:
        return [_row(r) for r in self.results]

    def table(self) -> Table:
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

    def save(self, path: Path, adversarial: np.ndarray) -> None:
        """Of each radius come the pushed images, then the pulled."""
        plan, n = self.plan, len(self.data)
        left, right = partners(n, plan.seed)
        partner = np.full(n, -1, np.int64)  # of the one without, if n is odd
        partner[left], partner[right] = right, left
        parts = [(kind, eps) for eps in plan.epsilons for kind in ("push", "pull")]
        labels = {"label": self.data.labels} if self.data.classes else {}
        save(
            path,
            adversarial,
            parts={"attack": [k for k, _ in parts], "eps": [e for _, e in parts]},
            rows={"partner": partner, **labels},
            stands=[(self.ledger.stage(*part).verdicts == 1).tolist() for part in parts],
        )

    def page(self) -> str:
        """Its pictures are the pushed images of the largest radius."""
        plan = self.plan
        page = VectorPage(
            title=f"How far vectors of {self.model} move: {self.reader.feature} under "
            f"{self.attack.steps} steps of label-free PGD, {plan.norm}, on {self.data.name}",
            facts=facts_of({**self.settings, **environment(self.device)}, self.attack),
            results=self.results,
            threats=plan.threats,
            pictures=self._pictures(),
            command=self.command,
            card=self.card,
        )
        return render_vectors(page)

    def _pictures(self) -> list[Picture]:
        """Each image, and as whose it is found before and after."""
        assert self.ledger.adversarial is not None
        result = self.results[self.plan.largest]
        pushed = self.ledger.adversarial[2 * self.plan.largest]
        return [
            Picture(
                self.images[i],
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
