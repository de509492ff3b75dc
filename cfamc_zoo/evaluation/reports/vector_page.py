"""The page of a label-free measurement: how far vectors move, each measure in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from cfamc_zoo.evaluation.features import FeatureRobustness
from cfamc_zoo.evaluation.reports.chart import Chart, Point, round_levels
from cfamc_zoo.evaluation.reports.page import MeasuredPage, Picture, render_template, shown_of


@dataclass(frozen=True, kw_only=True)
class VectorPage(MeasuredPage):
    """What the page of an encoder's vectors shows.

    Attributes:
        results: one a radius.
    """

    results: list[FeatureRobustness]

    @property
    def n(self) -> int:
        """Images that were compared."""
        return len(self.results[0].nearest)

    @property
    def typical(self) -> tuple[float, float, float]:
        return self.results[0].typical

    @staticmethod
    def number(distance: float) -> str:
        return f"{distance:.3g}"

    def chart(self) -> Chart:
        """Median distances against epsilon, beside those of pairs of clean images."""
        pushed, pulled = (
            [self._point(r.eps, median(distances(r))) for r in self.results]
            for distances in (lambda r: r.push_distances, lambda r: r.pull_distances)
        )
        levels = round_levels(max(self.typical[2], *(p.y for p in (*pushed, *pulled))))
        return Chart(
            names=(
                "distance of two vectors",
                f"epsilon, the largest perturbation ({self.norm})",
            ),
            top=levels[-1],
            curves=[
                ("pushed", sorted([self._point("0", 0.0), *pushed], key=lambda p: p.x)),
                ("pulled", sorted(pulled, key=lambda p: p.x)),
            ],
            levels=[(level, self.number(level)) for level in levels],
            strip=self.typical,
        )

    def _point(self, eps: str, distance: float) -> Point:
        at = {"0": 0.0} | {threat.text: threat.eps for threat in self.threats}
        return Point(at[eps], eps, distance, self.number(distance), distance, distance)

    def sentences(self, r: FeatureRobustness) -> list[tuple[str, str]]:
        """Each measure's name, and what it says."""
        n, found, (_, low, high) = len(r.nearest), sum(r.retrieved), r.retrieval
        typical = self.number(self.typical[1])
        return [
            (
                "pushed",
                f"Half of the images could be moved by {self.number(median(r.push_distances))} or "
                f"more from their own vector; a typical pair of images is {typical} apart. "
                f"{100 * median(r.push_quantiles):.1f}% of all pairs are so far apart or less "
                "(0% means: moved less than any two images differ; 50%: as far as a typical "
                "pair).",
            ),
            (
                "pulled",
                "Pulled towards a random other image, half of the images came as near to its "
                f"vector as {self.number(median(r.pull_distances))}; a typical pair is {typical} "
                f"apart. {100 * median(r.pull_quantiles):.1f}% of all pairs are so near (0% means: "
                "the image passes for the other; 50%: it is no nearer than a typical pair).",
            ),
            (
                "breakaway",
                f"In {100 * r.breakaway_risk:.3g}% of comparisons a random other image, as it is, "
                "is nearer to the pushed image than the pushed image's own clean self.",
            ),
            (
                "overlap",
                f"In {100 * r.overlap_risk:.3g}% of the pairs, of two images that are pulled "
                "towards each other, the other one comes nearer to an image's clean vector than "
                "the image itself stays.",
            ),
            (
                "found again",
                f"A search among the {n:,} images with a pushed image still finds the image "
                f"itself for {found:,} of {n:,} ({r.retrieval[0]:.1f}%, 95% interval {low:.1f} to "
                f"{high:.1f}). This depends on how many images there are, and is no accuracy of a "
                "classifier.",
            ),
        ]


def pushed_pictures(
    images: np.ndarray, pushed: np.ndarray, result: FeatureRobustness
) -> list[Picture]:
    """Up to 12 images, and as whose each is found before and after.

    Args:
        images, pushed: (N, C, H, W) float32 in [0, 1].
    """
    return [
        Picture(images[i], pushed[i], f"image {i}", f"image {i}", f"image {result.nearest[i]}")
        for i in shown_of(list(result.retrieved))
    ]


def render_vectors(page: VectorPage) -> str:
    """The page as HTML, without any reference to files or hosts but the card's."""
    return render_template("vectors.html", page)
