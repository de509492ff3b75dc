"""Where the marks and names of docs/leaderboard.html's pictures are: numbers for a page to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from board import ENSEMBLE, RADIUS, Entry, Measured, Section

from cfamc_zoo.evaluation.reports.chart import round_levels

WIDTH, HEIGHT = 440, 380  # pixels
LEFT, RIGHT, TOP, BOTTOM = 34, 20, 30, 42  # margins, which hold the ticks and the axes' names
SMALLEST, LARGEST = 3.5, 10.5  # radius of the cheapest and the dearest encoder's mark
UNKNOWN = 3.5  # radius where nothing is known of the cost
# Where names may stand around a mark: to the right and down, the best first; and how far away.
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (0.7, -0.7), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7))
AWAY = (8, 16, 26, 38, 52, 68, 90)
LETTER, BOLD, LINE = 7.2, 7.5, 13.0  # pixels of a name: a letter's width, a line's height
ARROW = 10  # pixels
STEPS = 12  # points of a line that are looked at
ATTACKS = (RADIUS, ENSEMBLE)  # of the vertical axis: PGD's key and AutoAttack's


@dataclass(frozen=True)
class Box:
    """A rectangle that something takes, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)

    def from_dot(self, dot: Dot, radius: float) -> float:
        """Pixels from it to the rim of a dot."""
        across = max(self.left - dot.x, dot.x - self.right, 0.0)
        down = max(self.top - dot.y, dot.y - self.bottom, 0.0)
        return math.hypot(across, down) - radius


Line = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True)
class Spot:
    """Where a name stands, and the line that leads to its mark, if it is not beside it."""

    box: Box
    leader: Line | None

    def trace(self) -> list[Box]:
        """Points of the line."""
        if self.leader is None:
            return []
        x1, y1, x2, y2 = self.leader
        parts = [i / STEPS for i in range(STEPS)]
        points = [(x1 + part * (x2 - x1), y1 + part * (y2 - y1)) for part in parts]
        return [Box(x - 1, y - 1, x + 1, y + 1) for x, y in points]


@dataclass(frozen=True)
class Dot:
    """One accuracy under attack; `bars` are its 95% intervals as lines."""

    x: float
    y: float
    ensemble: bool
    says: str
    bars: Sequence[Line]


@dataclass(frozen=True)
class Mark:
    """An encoder: a dot for each attack, and its name where there is room for it.

    Attributes:
        least: whether it lies further to the right than it is drawn.
    """

    ours: bool
    least: bool
    radius: float
    dots: Sequence[Dot]
    name: str
    spot: Spot | None = None


@dataclass(frozen=True)
class Axis:
    """A horizontal axis.

    Attributes:
        name: what it shows.
        low, high: its ends.
        ticks: value and text.
        of: what an encoder's place on it is, or None.
        scale: values to what is spaced evenly.
        bars: whether its values have intervals.
    """

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    of: Callable[[Entry], float | None]
    scale: Callable[[float], float] = float
    bars: bool = False

    def x(self, value: float) -> float:
        """In pixels from the left."""
        low, high = self.scale(self.low), self.scale(self.high)
        part = (self.scale(value) - low) / (high - low)
        return LEFT + part * (WIDTH - LEFT - RIGHT)


@dataclass(frozen=True)
class Scatter:
    """A picture: robust accuracy above, the axis from left to right."""

    axis: Axis
    levels: Sequence[tuple[float, str]]  # pixels from above, and text
    ticks: Sequence[tuple[float, str]]  # pixels from the left, and text
    marks: Sequence[Mark]

    width, height, left, right = WIDTH, HEIGHT, LEFT, WIDTH - RIGHT
    floor, ceiling = HEIGHT - BOTTOM, TOP


def scatters(section: Section, costs: Sequence[float]) -> list[Scatter]:
    """Robust accuracy over clean accuracy, and over what pretraining computes.

    Args:
        costs: of all encoders of the page, in FLOP; what marks are as large as.
    """
    entries = [
        (group.ours, entry)
        for group in section.groups
        for entry in group.entries
        if "" in entry.accuracy and any(attack in entry.accuracy for attack in ATTACKS)
    ]
    if not entries:
        return []
    own_costs = [entry.flop for _, entry in entries if entry.flop]
    axes = [clean_axis([entry for _, entry in entries])]
    axes += [cost_axis(own_costs)] if own_costs else []
    top = round_levels(
        max(e.accuracy[a].value for _, e in entries for a in ATTACKS if a in e.accuracy)
    )
    return [
        Scatter(
            axis,
            [(y_of(level, top[-1]), f"{level:g}") for level in top],
            [(axis.x(value), text) for value, text in axis.ticks],
            named(list(marks(entries, axis, top[-1], costs)), section.data),
        )
        for axis in axes
    ]


def clean_axis(entries: Sequence[Entry]) -> Axis:
    values = [entry.accuracy[""].value for entry in entries]
    low, high = 10 * math.floor(min(values) / 10), 10 * math.ceil(max(values) / 10)
    high += 10 * (low == high)
    ticks = [(float(value), str(value)) for value in range(low, high + 1, 10)]
    return Axis("clean accuracy, %", low, high, ticks, lambda e: e.accuracy[""].value, bars=True)


def cost_axis(costs: Sequence[float]) -> Axis:
    """In powers of ten of a PFLOP."""
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
    high += low == high
    ticks = [(10.0**power, f"{10.0 ** (power - 15):,g}") for power in range(low, high + 1)]
    return Axis(
        "← cheap: what pretraining computes, PFLOP",
        10.0**low,
        10.0**high,
        ticks,
        lambda entry: entry.flop,
        math.log10,
    )


def y_of(value: float, top: float) -> float:
    """In pixels from above."""
    return TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM)


def radius_of(flop: float | None, costs: Sequence[float]) -> float:
    """Grows with the logarithm of the cost."""
    if flop is None or min(costs) == max(costs):
        return UNKNOWN
    low, high = math.log10(min(costs)), math.log10(max(costs))
    return SMALLEST + (LARGEST - SMALLEST) * (math.log10(flop) - low) / (high - low)


def marks(
    entries: Sequence[tuple[bool, Entry]], axis: Axis, top: float, costs: Sequence[float]
) -> Iterator[Mark]:
    """The dearest first, so that no mark hides a smaller one; their names have no place yet."""
    for ours, entry in sorted(entries, key=lambda pair: -(pair[1].flop or 0)):
        value = axis.of(entry)
        if value is None:
            continue
        clean = entry.accuracy[""] if axis.bars else None
        dots = [
            dot_of(entry, attack, (axis, value, clean), top)
            for attack in ATTACKS
            if attack in entry.accuracy
        ]
        least = entry.least and not axis.bars
        yield Mark(ours, least, radius_of(entry.flop, costs), dots, entry.name)


def dot_of(
    entry: Entry, attack: str, place: tuple[Axis, float, Measured | None], top: float
) -> Dot:
    axis, value, clean = place
    robust = entry.accuracy[attack]
    x, y = axis.x(value), y_of(robust.value, top)
    bars = []
    if robust.low is not None and robust.high is not None:
        bars.append((x, y_of(robust.low, top), x, y_of(min(robust.high, top), top)))
    if clean is not None and clean.low is not None and clean.high is not None:
        bars.append((axis.x(clean.low), y, axis.x(clean.high), y))
    under = f"{ENSEMBLE} {RADIUS}" if attack == ENSEMBLE else f"PGD {RADIUS}"
    says = f"{entry.name}: {entry.accuracy['']} clean, {robust} {under}; {entry.computed}"
    return Dot(x, y, attack == ENSEMBLE, says, bars)


def named(found: Sequence[Mark], data: str) -> list[Mark]:
    """Each mark with its name where it meets nothing else; ours are placed first.

    Beside its mark, if no other is nearer; else further away, with a line that leads to it.
    """
    names: list[Box] = []
    placed: dict[int, Mark] = {}
    for mark in sorted(found, key=lambda m: not m.ours):
        name = short(mark.name, data)
        spots = (
            spot
            for dot in mark.dots
            for spot in spots_of(mark, dot, name)
            if not any(spot.box.meets(other) for other in names)
            and is_clear(spot, mark, dot, found)
            and not any(point.meets(other) for point in spot.trace() for other in names)
        )
        spot = next(spots, None)
        if spot is not None:
            names.append(spot.box)
        placed[id(mark)] = replace(mark, name=name if spot else "", spot=spot)
    return [placed[id(mark)] for mark in found]


def is_clear(spot: Spot, mark: Mark, dot: Dot, found: Sequence[Mark]) -> bool:
    """Whether a name hides no mark, and which one it is of can be seen."""
    if any(spot.box.meets(box_of(m, d)) for m in found for d in m.dots):
        return False
    others = [(m, d) for m in found if m is not mark for d in m.dots]
    if spot.leader is None:
        own = spot.box.from_dot(dot, mark.radius)
        return all(own < spot.box.from_dot(d, m.radius) for m, d in others)
    touching = box_of(mark, dot)
    apart = [box for m, d in others if not (box := box_of(m, d)).meets(touching)]
    return not any(point.meets(box) for point in spot.trace() for box in apart)


def box_of(mark: Mark, dot: Dot) -> Box:
    """What a dot takes, with its arrow."""
    right = dot.x + mark.radius + (ARROW if mark.least else 0)
    return Box(dot.x - mark.radius, dot.y - mark.radius, right, dot.y + mark.radius)


def short(name: str, data: str) -> str:
    """What tells an encoder apart within its picture."""
    return name.split(" (")[0].replace(f"-{data}", "")


def spots_of(mark: Mark, dot: Dot, name: str) -> Iterator[Spot]:
    """Where a name may stand, the best place first, all of it in the picture."""
    width = (BOLD if mark.ours else LETTER) * len(name)
    for away in (0, *AWAY):
        for right, down in DIRECTIONS[:4] if away == 0 else DIRECTIONS:
            gap = mark.radius + 4 + away
            x, y = dot.x + right * gap, dot.y + down * gap
            x += ARROW if mark.least and right > 0 and down == 0 else 0
            left = x - {1: 0.0, 0: width / 2, -1: width}[round(right)]
            top = y - LINE / 2 * (1 - down)
            box = Box(left, top, left + width, top + LINE)
            across = box.left >= LEFT and box.right <= WIDTH
            if across and box.top >= TOP - LINE and box.bottom <= HEIGHT - BOTTOM:
                yield Spot(box, leader_of(box, dot, mark.radius) if away else None)


def leader_of(box: Box, dot: Dot, radius: float) -> Line:
    """From the rim of a dot to the nearest point of a name."""
    x, y = min(max(dot.x, box.left), box.right), min(max(dot.y, box.top), box.bottom)
    part = radius / math.hypot(x - dot.x, y - dot.y)
    return dot.x + part * (x - dot.x), dot.y + part * (y - dot.y), x, y
