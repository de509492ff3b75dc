"""How `cfamc-zoo attack` shows what it measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cfamc_zoo.cli import output

if TYPE_CHECKING:
    from cfamc_zoo.evaluation.robustness import Accuracy


def row_of(accuracy: Accuracy) -> dict[str, Any]:
    """One accuracy as the JSON has it."""
    low, high = accuracy.interval
    return {
        "metric": accuracy.metric,
        "attack": accuracy.attack,
        "eps": accuracy.eps,
        "n": accuracy.n,
        "value": accuracy.value,
        "low": low,
        "high": high,
        "attacked": accuracy.tried if accuracy.attack else 0,
        "seconds": round(accuracy.seconds, 3),
        "correct": accuracy.correct,
    }


def table(accuracies: list[Accuracy]) -> None:
    """One line an accuracy."""
    output.table(
        ("metric", "attack", "eps", "%", "95% interval", "images", "seconds"),
        [
            (
                r.metric,
                r.attack or "-",
                r.eps or "-",
                f"{r.value:.2f}",
                f"{r.interval[0]:.2f}..{r.interval[1]:.2f}",
                str(r.n),
                f"{r.seconds:.1f}",
            )
            for r in accuracies
        ],
        right=(3, 5, 6),
    )
