"""One measurement of an encoder without labels from start to end: attack, measures, files."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.evaluation.feature_outputs import saved_parts
from cfamc_zoo.evaluation.features import FeatureReader, FeatureRobustness, evaluate_features
from cfamc_zoo.evaluation.measurement import Measurement, Table
from cfamc_zoo.evaluation.outputs import save
from cfamc_zoo.evaluation.plan import Plan
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.reports.vector_page import VectorPage, pushed_pictures, render_vectors
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
        return [r.to_json() for r in self.results]

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
        labels = {"label": self.data.labels} if self.data.classes else {}
        told = saved_parts(self.plan.epsilons, self.plan.seed, self.ledger, labels)
        save(path, adversarial, **told)

    def page(self) -> str:
        """Its pictures are the pushed images of the largest radius."""
        plan, part = self.plan, self.plan.largest
        assert self.ledger.adversarial is not None
        pushed = self.ledger.adversarial[2 * part]
        page = VectorPage(
            title=f"How far vectors of {self.model} move: {self.reader.feature} under "
            f"{self.attack.steps} steps of label-free PGD, {plan.norm}, on {self.data.name}",
            facts=facts_of({**self.settings, **environment(self.device)}, self.attack),
            results=self.results,
            threats=plan.threats,
            pictures=pushed_pictures(self.images, pushed, self.results[part]),
            command=self.command,
            card=self.card,
        )
        return render_vectors(page)
