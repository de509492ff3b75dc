"""A verification as one page that stands alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from cfamc_zoo.evaluation.reports.accuracy_page import render_template, today
from cfamc_zoo.evaluation.reports.facts import WORDS, card_of
from cfamc_zoo.verification.finding import Finding
from cfamc_zoo.verification.verify import Verification
from cfamc_zoo.zoo.device import environment


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Attributes:
        title: names the model.
        stands: whether every claim that was measured holds.
        summary: how many claims fared how.
        notes: sentences that must be read.
        tables: the findings by their title.
        facts: pairs of name and value, in words.
        command: what verifies again.
        card: where the card is; empty where that is not known.
        date: of the verification.
    """

    title: str
    stands: bool
    summary: str
    notes: list[str]
    tables: dict[str, list[Finding]]
    facts: list[tuple[str, str]]
    command: str
    card: str = ""
    date: str = field(default_factory=today)


def render_verification(found: Verification) -> str:
    """The page as HTML, without any reference to files or hosts but the card's."""
    here = {"sha256": found.release.digest, **environment(found.terms.device)}
    said = [(name, say(here[key])) for key, (name, say) in WORDS.items() if key in here]
    config = ("config.json, sha256", found.release.config_sha256)
    page = Page(
        f"{found.release.config.name}, measured again",
        found.stands,
        found.summary,
        found.notes,
        found.tables,
        [config, *said],
        found.command,
        card_of(found.asked, found.release),
    )
    return render_template("verification.html", page)
