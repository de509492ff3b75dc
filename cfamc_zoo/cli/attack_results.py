"""How `cfamc-zoo attack` shows what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfamc_zoo.cli import output
from cfamc_zoo.errors import OutputExistsError, UsageError
from cfamc_zoo.zoo.threat import parse_epsilon

if TYPE_CHECKING:
    from cfamc_zoo.datasets import LabelledImages
    from cfamc_zoo.evaluation.doubts import Doubt
    from cfamc_zoo.evaluation.ledger import Ledger
    from cfamc_zoo.evaluation.robustness import Accuracy
    from cfamc_zoo.zoo.classifier import Classifier


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


def check_report_path(path: Path) -> None:
    """Refuses, before any work is done, a page that could not be written."""
    if path.suffix != ".html":
        raise UsageError(f"--report {str(path)!r} must end in .html")
    if not path.parent.is_dir():
        raise UsageError(f"folder {str(path.parent)!r} does not exist; create it first")
    if path.exists():
        raise OutputExistsError(f"{str(path)!r} is already there; move it or give another name")


def write_report(
    path: Path,
    classifier: Classifier,
    dataset: LabelledImages,
    ledger: Ledger,
    accuracies: list[Accuracy],
    *,
    doubts: list[Doubt],
    settings: dict[str, Any],
    worst: str,
) -> None:
    """The page; its pictures are those of the largest radius."""
    from cfamc_zoo.atomic import atomic_file
    from cfamc_zoo.evaluation.report import Page, pictures_of, render
    from cfamc_zoo.zoo.preprocess import to_input

    assert ledger.adversarial is not None
    radii = settings["eps"]
    part = max(range(len(radii)), key=lambda i: parse_epsilon(radii[i], settings["norm"]))
    shown = radii[part]
    verdicts = next(a.correct for a in accuracies if a.attack == worst and a.eps == shown)
    pictures = pictures_of(
        classifier,
        to_input(dataset.images),
        ledger.adversarial[part],
        dataset.labels,
        dataset.classes,
        verdicts,
    )
    command = (
        f"cfamc-zoo attack -m {settings['model']} --data {settings['data']} "
        f"--attack {settings['attack']} --norm {settings['norm']} "
        f"--eps {','.join(settings['eps'])} --seed {settings['seed']} --limit {len(dataset)}"
    )
    facts = [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in settings.items()]
    page = Page(
        title=f"{settings['model']} under {worst}, {settings['norm']}, on {dataset.name}",
        facts=facts,
        accuracies=accuracies,
        worst=worst,
        norm=settings["norm"],
        doubts=[d.text for d in doubts],
        pictures_eps=shown,
        pictures=pictures,
        command=command,
    )
    with atomic_file(path) as temporary:
        temporary.write_text(render(page), encoding="utf-8")
