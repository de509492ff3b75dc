"""One self-contained HTML page of search results or duplicates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cfamc_zoo.embedding.search.results import Result
from cfamc_zoo.embedding.search.sections import Section, Thumbnails
from cfamc_zoo.pages import render_page

TEMPLATE = Path(__file__).parent / "pages" / "contact_sheet.html"


@dataclass(frozen=True)
class Part:
    """What one search found: its sections, under a heading where a page has several.

    Attributes:
        title: names it; "" where it is alone.
        sections: one below the other.
        facts: pairs of name and value, in words.
    """

    title: str
    sections: list[Section]
    facts: list[tuple[str, str]]


@dataclass(frozen=True)
class Sheet:
    """What the page shows.

    Attributes:
        title: of the page.
        note: sentences below it; may be empty.
        parts: one below the other.
        command: what makes the page again.
    """

    title: str
    note: str
    parts: list[Part]
    command: str
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d"))


def page_of(result: Result, command: str) -> tuple[str, int]:
    """The page of one search as HTML, and of how many images it has no picture."""
    thumbnails = Thumbnails(result.vectors)
    part = Part("", result.sections(thumbnails), result.facts())
    return render_sheet(
        Sheet(result.title(), result.left_out(), [part], command)
    ), thumbnails.missing


def render_sheet(sheet: Sheet) -> str:
    """The page as HTML, without any reference to files or hosts. Every value is escaped."""
    return render_page(TEMPLATE, sheet, {"breakable": _breakable})


def _breakable(name: str) -> Any:
    """A path that breaks where its parts end, not in a word."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(map(escape, re.split(r"(?<=[/\\_.-])", name)))
