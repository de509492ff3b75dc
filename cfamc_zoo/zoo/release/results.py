"""Rows of results.json: what was measured of a release, and which kind each row is.

Every row has COMMON. An accuracy is in percent and has its 95% interval, `low` to `high`; a
difference between back ends has its `feature` and the `limit` that it had to keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.zoo.release.folder import RESULTS, Release
from cfamc_zoo.zoo.release.plain_json import parse_json

Rows = list[dict[str, Any]]

WORDS = ("protocol", "metric", "attack", "norm", "eps", "data", "command", "device", "date")
COUNTS = ("steps", "restarts", "n", "seed")
COMMON = (*WORDS, *COUNTS, "value", "versions")
INTERVAL = ("low", "high")
DIFFERENCE = ("feature", "limit")
MOST_ROWS = 1000  # a card of more would take minutes to write; ours have a dozen

# The rows behind the head that is released; others are there to compare with.
OWN_PROTOCOL = "linear head chosen for robustness; PGD, random start"

SUMMARY_KEYS = ("metric", "attack", "norm", "eps", "steps", "restarts", "data", "n", "value")
SAMPLE = "-sample"  # how the names of the samples in the package end
SPLIT = 10_000  # images of CIFAR's test splits

# What a clean accuracy, which has no attack, says of one.
BLANK = {"attack": "", "norm": "", "eps": "", "steps": 0, "restarts": 0, "seed": 0}


def read_results(release: Release) -> Rows:
    """The verified rows of a release; none where it has no results.json.

    Raises:
        ReleaseError: the file is not what the config pins, or holds something else.
    """
    if not release.has(RESULTS):
        return []
    rows = parse_json(release.read(RESULTS), f"{RESULTS} of {release.config.name!r}")
    if not isinstance(rows, list):
        raise _no_rows(release, f"a {type(rows).__name__}")
    if len(rows) > MOST_ROWS:
        raise _no_rows(release, f"{len(rows)} of them, and at most {MOST_ROWS} are read")
    for row in rows:
        wrong = _wrong(row)
        if wrong is not None:
            raise _no_rows(release, wrong)
    return rows


def accuracies(rows: Rows) -> Rows:
    """The rows that are accuracies."""
    return [row for row in rows if set(INTERVAL) <= set(row)]


def differences(rows: Rows) -> Rows:
    """The rows that say how far torch and ONNX Runtime are apart."""
    return [row for row in rows if set(DIFFERENCE) <= set(row)]


def row_of(
    measured: Mapping[str, Any], *, protocol: str, command: str, here: Mapping[str, Any]
) -> dict[str, Any]:
    """One row, of today.

    Args:
        measured: metric, data, n, value, and the keys of INTERVAL or of DIFFERENCE; of BLANK
            what is not so.
        protocol: by which it was measured.
        command: that measures it again.
        here: versions and device, as `zoo.device.environment` has them.

    Raises:
        ValueError: this makes no row.
    """
    row = {
        "protocol": protocol,
        **BLANK,
        **measured,
        "command": command,
        "versions": here["versions"],
        "device": here["device"],
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    if (wrong := _wrong(row)) is not None:
        raise ValueError(wrong)
    return row


def is_partial(row: Mapping[str, Any]) -> bool:
    """Whether a row was measured on fewer images than CIFAR's test splits have."""
    return row["data"].endswith(SAMPLE) or row["n"] < SPLIT


def headline(rows: Rows) -> Rows:
    """The rows of the released head on whole test splits; where there are none, on what was
    measured instead."""
    own = [row for row in rows if row["protocol"] == OWN_PROTOCOL]
    return [row for row in own if not is_partial(row)] or own


def summarize(rows: Rows) -> Rows:
    """What the registry repeats of the `headline`."""
    return [{key: row[key] for key in SUMMARY_KEYS} for row in headline(rows)]


def _wrong(row: Any) -> str | None:
    """What keeps a value from being a row."""
    if not isinstance(row, dict):
        return f"a row that is a {type(row).__name__}"
    kinds = [{*COMMON, *INTERVAL}, {*COMMON, *DIFFERENCE}]
    if set(row) not in kinds:
        differs = min((set(row) ^ kind for kind in kinds), key=len)
        return f"a row that lacks, or should lack, {', '.join(sorted(map(repr, differs))[:5])}"
    for key, value in row.items():
        if key in (*WORDS, "feature"):
            right = isinstance(value, str)
        elif key == "versions":
            right = isinstance(value, dict)
        elif key in COUNTS:
            right = type(value) is int and value >= 0
        else:  # a bool is an int, and no number here
            highest = 100 if key in (*INTERVAL, "value") and "low" in row else math.inf
            right = type(value) in (int, float) and 0 <= value <= highest
        if not right:
            return f"a row whose {key} is {value!r}"
    return None


def _no_rows(release: Release, found: str) -> ReleaseError:
    return ReleaseError(
        f"{RESULTS} of {release.config.name!r} holds no rows of results but {found}; measure the "
        "release again"
    )
