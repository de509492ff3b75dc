"""The page of ordinary edits: how far each moves vectors, beside an adversary."""

from __future__ import annotations

from dataclasses import dataclass

from cfamc_zoo.evaluation.edits.moved import ADVERSARY, EditRobustness
from cfamc_zoo.evaluation.reports.bars import Bar, Bars
from cfamc_zoo.evaluation.reports.page import ReportPage, render_template


@dataclass(frozen=True, kw_only=True)
class EditsPage(ReportPage):
    """What the page of edits shows: pictures are an image under the strongest edit of each kind.

    Attributes:
        results: one an edit and strength, or radius.
        size: pixels a side of what was edited.
    """

    results: list[EditRobustness]
    size: int

    @property
    def n(self) -> int:
        """Images that were compared."""
        return len(self.results[0].nearest)

    @property
    def adversarial(self) -> bool:
        """Whether an adversary stands beside the edits."""
        return any(r.kind == ADVERSARY for r in self.results)

    def chart(self) -> Bars:
        """How far each edit moves the median image, and the image that nine in ten move less."""
        return Bars(
            "% of the distance of a typical pair of images",
            [
                Bar(
                    r.kind,
                    f"{r.kind}: {r.said}",
                    100 * r.length(0.5),
                    100 * r.length(0.9),
                    f"{100 * r.length(0.5):.1f}",
                    other=r.kind == ADVERSARY,
                )
                for r in self.results
            ],
        )


def render_edits(page: EditsPage) -> str:
    """The page as HTML, without any reference to files or hosts but the card's."""
    return render_template("edits.html", page)
