"""Where the bars of a chart are: numbers for a page to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cfamc_zoo.evaluation.reports.chart import round_levels

WIDTH, LEFT, RIGHT = 680, 290, 56  # in pixels; the margins hold names and values
ROW, GAP, TOP, BOTTOM = 18, 10, 26, 22


@dataclass(frozen=True)
class Bar:
    """One measured value.

    Attributes:
        group: bars of one group stand together.
        name: what is written beside it.
        value: its length.
        reach: a second value, up to which a thin line goes on.
        label: the value as it is written.
        other: whether it is drawn in the other colour.
    """

    group: str
    name: str
    value: float
    reach: float
    label: str
    other: bool = False


@dataclass(frozen=True)
class Placed:
    """A bar as drawn, in pixels."""

    bar: Bar
    y: float
    width: float
    reach: float


class Bars:
    """Bars one below the other, from zero to the right.

    Args:
        name: of the axis.
        bars: from above; at least one.
    """

    row, left, width, right = ROW, LEFT, WIDTH, WIDTH - RIGHT

    def __init__(self, name: str, bars: Sequence[Bar]):
        self.name = name
        self._levels = round_levels(max(max(bar.value, bar.reach) for bar in bars))
        self.placed: list[Placed] = []
        y, group = float(TOP), bars[0].group
        for bar in bars:
            y += GAP if bar.group != group else 0
            group = bar.group
            self.placed.append(Placed(bar, y, self.x(bar.value) - LEFT, self.x(bar.reach)))
            y += ROW
        self.floor = y
        self.height = y + BOTTOM

    def x(self, value: float) -> float:
        """In pixels from the left."""
        return LEFT + min(value / self._levels[-1], 1.0) * (WIDTH - RIGHT - LEFT)

    @property
    def levels(self) -> list[tuple[float, str]]:
        """Ticks of the axis: pixels from the left, and text."""
        return [(self.x(level), f"{level:g}") for level in self._levels]
