"""What a check found of one claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cfamc_zoo.progress import Progress, Say, silent
from cfamc_zoo.zoo.release.folder import Release

if TYPE_CHECKING:
    import torch

Depth = Literal["quick", "full"]  # the bundled sample, or every row on its own data


class Verdict(StrEnum):
    """How a claim fared."""

    HOLDS = "holds"
    FAILS = "does not hold"
    LOWERED = "lowered"  # a robust accuracy: the attack found more than was claimed
    UNCHECKED = "cannot be checked"
    NOT_STORED = "not stored"  # by the version that made the release: there is no such claim
    LEFT_OUT = "left out"  # it was not asked for

    @property
    def stands(self) -> bool:
        """Whether nothing speaks against the claim."""
        return self in (Verdict.HOLDS, Verdict.NOT_STORED, Verdict.LEFT_OUT)


@dataclass(frozen=True)
class Finding:
    """One claim of a release beside what was found.

    Attributes:
        check: name of the check, in the table of checks.
        subject: what the claim is of: a file, a feature, an accuracy.
        claim, measured: what is said, and what is so; "" where there is none.
        tolerance: how far they may be apart, in words.
        verdict: what follows.
        note: a sentence that a person must read; "" where the rest says all.
        numbers: the same for a program; which ones depends on the check.
        protocol: of an accuracy.
    """

    check: str
    subject: str
    claim: str
    measured: str
    tolerance: str
    verdict: Verdict
    note: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    protocol: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Terms:
    """How a release is verified.

    Attributes:
        device: where accuracies are measured; vectors are compared on the CPU.
        depth: "quick" or "full".
        limit: images of each set at most; with it the verification is partial.
        state: a folder that keeps what is measured, from which the same goes on; None keeps
            nothing.
        say: told what a person should know.
        progress: opens a bar of a description and a total.
    """

    device: torch.device
    depth: Depth = "quick"
    limit: int | None = None
    state: Path | None = None
    say: Say = lambda text: None
    progress: Progress = silent


Check = Callable[[Release, Terms], Iterator[Finding]]
EXACT = "none"
