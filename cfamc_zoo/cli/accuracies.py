"""Measured accuracies as a person reads them: a table for each protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cfamc_zoo.cli import output

if TYPE_CHECKING:
    from cfamc_zoo.zoo.release.results import Rows, Summary


def show_accuracies(rows: Rows) -> None:
    """The accuracies among the rows, with their intervals."""
    from cfamc_zoo.zoo.release.results import accuracies

    found = accuracies(rows)
    for protocol in dict.fromkeys(row.protocol for row in found):
        here = [row for row in found if row.protocol == protocol]
        output.result(f"\n{protocol}{norms_of(here)}")
        table = [(*measured(row), f"{row.low:.2f}..{row.high:.2f}", str(row.n)) for row in here]
        headers = ("data", "metric", "attack", "eps", "%", "95% interval", "images")
        output.table(headers, table, right=(4, 6))


def measured(row: Summary) -> tuple[str, ...]:
    """What was measured, and the value."""
    return row.data, row.metric, row.attack or "-", row.eps or "-", f"{row.value:.2f}"


def norms_of(rows: Sequence[Summary]) -> str:
    """Of the attacks: above the table, which has no room for them at 80 columns."""
    norms = dict.fromkeys(row.norm for row in rows if row.norm)
    return f" ({', '.join(norms)})" if norms else ""
