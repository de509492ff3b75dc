"""docs/leaderboard.html: the board as a page, with its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from board import COLUMNS, COST, LEFT_OUT, Section
from scatter import Scatter, scatters

from cfamc_zoo.pages import render_page

TEMPLATE = Path(__file__).parent / "templates/leaderboard.html"
LEAD = (
    "Encoders that learnt without labels to withstand an attacker: L-infinity, percent of test "
    "images classified correctly. Groups were measured by other protocols than each other, which "
    "their heading says: read down a group, not across groups."
)
PICTURES = (
    "In the pictures an encoder that was measured by both attacks has two marks with a dotted line "
    "between them; an arrow says that it lies further to the right; a name for which there is no "
    "room stands in the other picture or in the table."
)


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    sections: Sequence[tuple[Section, Sequence[Scatter]]]
    notes: Sequence[str]
    title: str = "Robust self-supervised encoders, beside each other"
    lead: str = LEAD
    command: str = "python docs/generate.py"
    columns: Mapping[str, str] = field(default_factory=lambda: COLUMNS)


def page(found: Sequence[Section], told: Sequence[str]) -> str:
    """The page as HTML, of one file.

    Args:
        found, told: as `board.sections` and `board.conditions` return them.
    """
    entries = [entry for section in found for group in section.groups for entry in group.entries]
    costs = [entry.flop for entry in entries if entry.flop]
    drawn = [(section, scatters(section, costs)) for section in found]
    return render_page(TEMPLATE, Page(drawn, [*told, COST, PICTURES, LEFT_OUT]))
