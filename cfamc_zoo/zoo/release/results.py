"""Rows of results.json: what was measured of a release, and which kind each row is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from cfamc_zoo.datasets import NAMED, SAMPLE
from cfamc_zoo.errors import ReleaseError, UsageError
from cfamc_zoo.typed import read
from cfamc_zoo.zoo.release.folder import RESULTS, Release
from cfamc_zoo.zoo.release.plain_json import parse_json

MOST_ROWS = 1000  # a card of more would take minutes to write; ours have a dozen

# The rows behind the head that is released; others are there to compare with.
OWN_PROTOCOL = "linear head chosen for robustness; PGD, random start"

SPLIT = 10_000  # images of a whole test split, of a data set that has no name here

# What a clean accuracy, which has no attack, says of one.
BLANK = {"attack": "", "norm": "", "eps": "", "steps": 0, "restarts": 0, "seed": 0}

# The keys of a row as they are written.
ORDER = (
    *("protocol", "metric", "feature", "attack", "norm", "eps", "steps", "restarts", "data", "n"),
    *("value", "low", "high", "correct", "limit", "command", "seed", "versions", "device", "date"),
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the registry repeats of a row.

    Attributes:
        metric: "clean accuracy", "robust accuracy", or what kind of difference.
        attack, norm, eps: "PGD-20", "linf", "8/255"; "" where there was no attack.
        steps, restarts: of it; 0 where there was none, or it has no such.
        data: name of the images.
        n: how many.
        value: percent of an accuracy; a difference in the feature's unit.

    Raises:
        UsageError: a number below 0.
    """

    metric: str
    attack: str
    norm: str
    eps: str
    steps: int
    restarts: int
    data: str
    n: int
    value: float

    def __post_init__(self) -> None:
        for name in ("steps", "restarts", "n", "value"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")

    @property
    def partial(self) -> bool:
        """Whether it was measured on fewer images than the test split has."""
        known = NAMED.get(self.data)
        return self.data.endswith(SAMPLE) or self.n < (known.test if known else SPLIT)


@dataclass(frozen=True, kw_only=True)
class Row(Summary):
    """One measured value.

    Attributes:
        protocol: by which it was measured, in a sentence.
        command: that measures it again.
        seed: of all draws.
        versions: of the software, by name.
        device: where.
        date: "2026-01-31".
    """

    protocol: str
    command: str
    seed: int
    versions: dict[str, Any]
    device: str
    date: str

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.seed >= 0, "seed", self.seed, "0 or more")

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        if not values.get("correct", True):
            del values["correct"]
        return {name: values[name] for name in ORDER if name in values}


@dataclass(frozen=True, kw_only=True)
class AccuracyRow(Row):
    """An accuracy, in percent, with its 95% interval.

    Attributes:
        correct: a character an image, in their order: "1" where it was classified correctly,
            whatever was done to it, else "0"; empty where that was not kept.
    """

    low: float
    high: float
    correct: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("value", "low", "high"):
            _require(0 <= getattr(self, name) <= 100, name, getattr(self, name), "0..100 percent")
        fits = len(self.correct) in (0, self.n) and not self.correct.strip("01")
        shown = f"{self.correct[:20]}... of {len(self.correct)} characters"
        _require(fits, "correct", shown, f'"0" or "1" for each of its {self.n} images, or nothing')


@dataclass(frozen=True, kw_only=True)
class DifferenceRow(Row):
    """How far two back ends are apart in a feature, and the limit that they had to keep."""

    feature: str
    limit: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.limit >= 0, "limit", self.limit, "0 or more")


Rows = Sequence[Row]


def read_results(release: Release) -> list[Row]:
    """The verified rows of a release; none where it has no results.json.

    Raises:
        ReleaseError: the file is not what the config pins, or holds something else.
    """
    if not release.has(RESULTS):
        return []
    return parse_rows(release.read(RESULTS), f"{RESULTS} of {release.config.name!r}")


def parse_rows(content: bytes, where: str) -> list[Row]:
    """The rows in the bytes of a results.json; `where` names it in messages.

    Raises:
        ReleaseError: it holds something else.
    """
    values = parse_json(content, where)
    if not isinstance(values, list):
        raise _no_rows(where, f"is a {type(values).__name__}")
    if len(values) > MOST_ROWS:
        raise _no_rows(where, f"has {len(values)} of them, and at most {MOST_ROWS} are read")
    try:
        return [_row(value) for value in values]
    except UsageError as error:
        raise _no_rows(where, str(error)) from error


def rows_text(rows: Rows) -> bytes:
    """The inverse of `parse_rows`: a results.json."""
    return (json.dumps([row.to_json() for row in rows], indent=2) + "\n").encode()


def accuracies(rows: Rows) -> list[AccuracyRow]:
    """The rows that are accuracies."""
    return [row for row in rows if isinstance(row, AccuracyRow)]


def differences(rows: Rows) -> list[DifferenceRow]:
    """The rows that say how far torch and ONNX Runtime are apart."""
    return [row for row in rows if isinstance(row, DifferenceRow)]


def row_of(
    measured: Mapping[str, Any], *, protocol: str, command: str, here: Mapping[str, Any]
) -> Row:
    """One row, of today.

    Args:
        measured: metric, data, n, value, and low and high or feature and limit; of BLANK what is
            not so.
        protocol: by which it was measured.
        command: that measures it again.
        here: versions and device, as `zoo.device.environment` has them.

    Raises:
        UsageError: this makes no row.
    """
    made = {
        "command": command,
        "versions": here["versions"],
        "device": here["device"],
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    return _row({"protocol": protocol, **BLANK, **measured, **made})


def partial_images(rows: Sequence[Summary]) -> str:
    """On which images the partial ones among the rows were measured; "" where none is."""
    few = {f"{row.n:,} images of {row.data}": None for row in rows if row.partial}
    return ", ".join(few)


def headline(rows: Rows) -> list[AccuracyRow]:
    """The rows of the released head on whole test splits; where there are none, on what was
    measured instead."""
    own = [row for row in accuracies(rows) if row.protocol == OWN_PROTOCOL]
    return [row for row in own if not row.partial] or own


def summarize(rows: Rows) -> list[Summary]:
    """What the registry repeats of the `headline`."""
    return [
        Summary(**{name: getattr(row, name) for name in Summary.__dataclass_fields__})
        for row in headline(rows)
    ]


def _row(value: Any) -> Row:
    apart = isinstance(value, dict) and {"feature", "limit"} & value.keys()
    return read(DifferenceRow if apart else AccuracyRow, value, "row")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"row key {name} is {value!r}; it must be {rule}")


def _no_rows(where: str, found: str) -> ReleaseError:
    return ReleaseError(f"{where} holds no rows of results: {found}; measure the release again")
