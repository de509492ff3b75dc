"""A verification as one page that stands alone."""

from __future__ import annotations

from dataclasses import dataclass

from cfamc_zoo.evaluation.reports.facts import WORDS, card_of
from cfamc_zoo.evaluation.reports.page import ReportPage, render_template
from cfamc_zoo.verification.finding import Finding
from cfamc_zoo.verification.verify import Verification
from cfamc_zoo.zoo.device import environment


@dataclass(frozen=True, kw_only=True)
class Page(ReportPage):
    """What the page shows; no pictures.

    Attributes:
        stands: whether every claim that was measured holds.
        summary: how many claims fared how.
        notes: sentences that must be read.
        tables: the findings by their title.
    """

    stands: bool
    summary: str
    notes: list[str]
    tables: dict[str, list[Finding]]


def render_verification(found: Verification) -> str:
    """The page as HTML, without any reference to files or hosts but the card's."""
    here = {"sha256": found.release.digest, **environment(found.terms.device)}
    said = [(name, say(here[key])) for key, (name, say) in WORDS.items() if key in here]
    config = ("config.json, sha256", found.release.config_sha256)
    page = Page(
        title=f"{found.release.config.name}, measured again",
        facts=[config, *said],
        pictures=[],
        command=found.command,
        card=card_of(found.asked, found.release),
        stands=found.stands,
        summary=found.summary,
        notes=found.notes,
        tables=found.tables,
    )
    return render_template("verification.html", page)
