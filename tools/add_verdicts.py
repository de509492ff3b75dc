"""Adds to a bundled release what `cfamc-zoo verify` compares with, where an older version made it.

    python tools/add_verdicts.py resnet18-thin-cifar10-free

The rows of the bundled sample are measured again, each by its own command; their accuracies must
come out as the card says. Then their verdicts and the golden values are in the release, and the
config, the registry's entry, the card and docs/runs/NAME follow. Afterwards docs/generate.py.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from cfamc_zoo.datasets import SAMPLES, load_dataset
from cfamc_zoo.evaluation.protocols import verdicts_text
from cfamc_zoo.export.card import renew_card
from cfamc_zoo.export.golden import golden_of
from cfamc_zoo.verification.accuracies import measure_again
from cfamc_zoo.verification.again import read_command
from cfamc_zoo.verification.finding import Terms
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.catalogue.entry import entry_of, write_entry
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.release.folder import GOLDEN, RESULTS, Release, open_release, write_files
from cfamc_zoo.zoo.release.results import AccuracyRow, Row, read_results, rows_text

ROOT = Path(__file__).parent.parent


def with_verdicts(release: Release, row: AccuracyRow, terms: Terms) -> Row:
    """The row, measured again: the same accuracy, and now its verdicts."""
    found = measure_again(release, row.command, read_command(row.command), terms)
    key = (row.metric, row.attack, row.eps)
    same = next(a for a in found if (a.metric, a.attack, a.eps) == key)
    if (same.n, round(same.value, 4)) != (row.n, row.value):
        raise SystemExit(f"{row.command}: {same.value:.4f}%, not {row.value}% as the card says")
    here = environment(terms.device)
    made = {"versions": here["versions"], "device": here["device"]}
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return replace(row, correct=verdicts_text(same.correct), date=today, **made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--state", type=Path, help="a folder: what is measured is not again")
    arguments = parser.parse_args()
    name = arguments.name
    release = open_release(registry.bundled_folder(name))
    if arguments.state is not None:
        arguments.state.mkdir(exist_ok=True)
    terms = Terms(torch.device("cpu"), state=arguments.state, say=print)
    rows = [
        with_verdicts(release, row, terms)
        if isinstance(row, AccuracyRow) and row.data in SAMPLES
        else row
        for row in read_results(release)
    ]
    sample = load_dataset(next(iter(SAMPLES)))
    golden = golden_of(release, sample.images, data=sample.name)
    files = {RESULTS: rows_text(rows), GOLDEN: golden.to_bytes()}
    release = write_files(release.folder, release.config, files)
    spec = registry.find_model(name)
    entry = entry_of(release, repo=spec.repo, revision=spec.revision)
    write_entry(replace(entry, bundled=spec.bundled))
    (ROOT / "docs/runs" / name / RESULTS).write_bytes(release.read(RESULTS))
    renew_card(release)  # which says whether its name is known


if __name__ == "__main__":
    main()
