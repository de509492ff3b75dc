"""Where the lines, labels and ticks of a curve are: numbers for a page to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 440, 300  # in pixels
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 44, 48  # margins, which hold the ticks and the axes' names
APART = 40  # pixels between two labels on the horizontal axis, at least


@dataclass(frozen=True)
class Point:
    """One measured value.

    Attributes:
        x: its place.
        tick: what is written there on the horizontal axis.
        y: the value.
        label: the value as it is written.
        low, high: an interval around it; both `y` where there is none.
    """

    x: float
    tick: str
    y: float
    label: str
    low: float
    high: float


@dataclass(frozen=True)
class Place:
    """A point as drawn, in pixels; tick and label are empty where there is no room."""

    x: float
    y: float
    tick: str
    label: str
    above: float  # where the label stands
    anchor: str


@dataclass(frozen=True)
class Line:
    """One curve as drawn: SVG's lists of points."""

    name: str
    points: str
    band: str
    places: list[Place]


def round_levels(largest: float) -> list[float]:
    """Three to six round values from zero on, the last not under `largest`."""
    if not largest > 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(largest))
    step = next(part * power for part in (0.2, 0.5, 1, 2) if 5 * part * power >= largest)
    return [i * step for i in range(math.ceil(largest / step) + 1)]


@dataclass(frozen=True)
class Chart:
    """A picture of one or more curves over the same horizontal axis.

    Attributes:
        names: of the vertical and the horizontal axis.
        top: the value at the upper end of the vertical axis, which begins at zero.
        curves: name and points, from left to right.
        levels: ticks of the vertical axis: value and text.
        strip: a range of values that all is compared with, and the one in its middle; or None.
    """

    names: tuple[str, str]
    top: float
    curves: Sequence[tuple[str, Sequence[Point]]]
    levels: Sequence[tuple[float, str]]
    strip: tuple[float, float, float] | None = None

    width, height, left, right = WIDTH, HEIGHT, LEFT, WIDTH - RIGHT
    floor, ceiling = HEIGHT - BOTTOM, TOP

    @property
    def _largest(self) -> float:
        return max((p.x for _, points in self.curves for p in points), default=0.0) or 1.0

    def _x(self, value: float) -> float:
        return LEFT + value / self._largest * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """In pixels from above."""
        return TOP + (1 - min(value / self.top, 1.0)) * (HEIGHT - TOP - BOTTOM)

    def lines(self) -> list[Line]:
        """The curves; ticks are those of the first."""
        return [
            Line(
                name,
                " ".join(f"{self._x(p.x):.1f},{self.y(p.y):.1f}" for p in points),
                " ".join(
                    [f"{self._x(p.x):.1f},{self.y(p.low):.1f}" for p in points]
                    + [f"{self._x(p.x):.1f},{self.y(p.high):.1f}" for p in reversed(points)]
                ),
                self._places(points, ticks=i == 0),
            )
            for i, (name, points) in enumerate(self.curves)
        ]

    def _places(self, points: Sequence[Point], *, ticks: bool) -> list[Place]:
        """The last point has its label always, another where there is room."""
        places, labelled, last = [], -math.inf, self._x(max(p.x for p in points))
        for p in points:
            x, y = self._x(p.x), self.y(p.y)
            room = x == last or (x - labelled >= APART and last - x >= APART)
            labelled = x if room else labelled
            # Labels of the first and the last point stay inside the picture.
            anchor = "start" if p.x == 0 else "end" if x == last else "middle"
            tick, label = (p.tick if ticks else "", p.label) if room else ("", "")
            places.append(Place(x, y, tick, label, y - 10, anchor))
        return places
