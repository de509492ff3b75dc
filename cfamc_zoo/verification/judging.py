"""A claimed accuracy beside a measured one: image by image where the row has its verdicts."""

from __future__ import annotations

import math

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.robustness import Accuracy
from cfamc_zoo.verification.finding import Finding, Verdict
from cfamc_zoo.zoo.release.results import AccuracyRow
from cfamc_zoo.zoo.release.wording import counted

CHECK = "accuracies"
# Parts of the images whose verdicts may differ from machine to machine: sums of float32 in
# another order bring an image that lies at the boundary onto its other side.
CLEAN, ATTACKED = 0.003, 0.01
ROUNDED = 5e-5  # percent: rows have four digits


def subject_of(row: AccuracyRow) -> str:
    """ "PGD-20 8/255, cifar10"; in another norm than linf, which."""
    norm = "" if row.norm == "linf" else f" {row.norm}"
    attack = f"{row.attack}{norm} {row.eps}" if row.attack else "clean"
    return f"{attack}, {row.data}"


def claim_of(row: AccuracyRow) -> str:
    return f"{row.value:.2f}%"


def allowed_of(row: AccuracyRow, n: int) -> int:
    """How many of n images may differ."""
    return max(1, math.ceil((ATTACKED if row.attack else CLEAN) * n))


def check_consistent(row: AccuracyRow) -> None:
    """A row's own numbers must follow from one another.

    Raises:
        ReleaseError: they do not.
    """
    count = row.value * row.n / 100
    if row.correct and abs(row.correct.count("1") - count) > ROUNDED * row.n:
        stored = row.correct.count("1")
        raise ReleaseError(
            f"the card says {row.value:g}% of {row.n:,} images, its own verdicts say that "
            f"{stored:,} stand"
        )
    low, high = (100 * end for end in wilson(round(count), row.n))
    if max(abs(row.low - low), abs(row.high - high)) > 2 * ROUNDED:
        raise ReleaseError(
            f"the card says {row.low:g}..{row.high:g}%, but the 95% interval of {row.value:g}% of "
            f"{row.n:,} images is {low:.2f}..{high:.2f}%"
        )


def judged(row: AccuracyRow, found: Accuracy) -> Finding:
    """What a new measurement says of a row, on all of its images or the first of them.

    Raises:
        ReleaseError: the row contradicts itself, or is of fewer images.
    """
    check_consistent(row)
    if found.n > row.n:
        raise ReleaseError(f"the card says {row.n:,} images; its command measures {found.n:,}")
    if row.correct:
        return _image_by_image(row, found)
    return _counted(row, found) if found.n == row.n else _by_interval(row, found)


def _image_by_image(row: AccuracyRow, found: Accuracy) -> Finding:
    n, claimed = found.n, [c == "1" for c in row.correct[: found.n]]
    differing = sum(a != b for a, b in zip(claimed, found.correct, strict=True))
    lost, allowed = sum(claimed) - sum(map(bool, found.correct)), allowed_of(row, n)
    return _finding(
        row,
        found,
        claim=f"{100 * sum(claimed) / n:.2f}%",
        said=f", {differing}/{n} differ",
        tolerance=counted(allowed, "image"),
        verdict=_verdict(row, lost > allowed, differing > allowed),
        numbers={"claim": 100 * sum(claimed) / n, "differing": differing, "allowed": allowed},
    )


def _counted(row: AccuracyRow, found: Accuracy) -> Finding:
    """The row has no verdicts: how many images stand is compared."""
    claimed, stand = round(row.value * row.n / 100), sum(map(bool, found.correct))
    allowed = allowed_of(row, row.n)
    return _finding(
        row,
        found,
        claim=claim_of(row),
        said=f" of {row.n:,}",
        tolerance=f"{counted(allowed, 'image')}, counted",
        verdict=_verdict(row, claimed - stand > allowed, abs(claimed - stand) > allowed),
        numbers={"claim": row.value, "allowed": allowed},
    )


def _by_interval(row: AccuracyRow, found: Accuracy) -> Finding:
    """Of a part of the images, and no verdicts: the 95% intervals must overlap."""
    low, high = found.interval
    return _finding(
        row,
        found,
        claim=claim_of(row),
        said=f", {low:.1f}..{high:.1f}",
        tolerance="95% intervals",
        verdict=_verdict(row, high < row.low, high < row.low or low > row.high),
        numbers={"claim": row.value, "low": low, "high": high},
    )


def _verdict(row: AccuracyRow, lower: bool, differs: bool) -> Verdict:
    """Significantly lower under attack is more than a difference: the attack found more."""
    if row.attack and lower:
        return Verdict.LOWERED
    return Verdict.FAILS if differs else Verdict.HOLDS


def _finding(
    row: AccuracyRow,
    found: Accuracy,
    *,
    claim: str,
    said: str,
    tolerance: str,
    verdict: Verdict,
    numbers: dict[str, float],
) -> Finding:
    note = ""
    if verdict is Verdict.LOWERED:
        note = (
            f"{subject_of(row)}: the attack finds more than the card says. A robust accuracy is an "
            f"upper bound, and this one is lowered from {claim} to {found.value:.2f}% of "
            f"{found.n:,} images"
        )
    return Finding(
        CHECK,
        subject_of(row),
        claim,
        f"{found.value:.2f}%{said}",
        tolerance,
        verdict,
        note,
        {"measured": found.value, "images": found.n, **numbers},
        row.protocol,
    )
