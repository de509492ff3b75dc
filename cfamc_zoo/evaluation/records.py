"""A release measured protocol by protocol: rows into its results.json, records beside it.

Beside a release folder NAME lies NAME.measured/, with each protocol's head and what it gave:
KEY.safetensors and KEY.json. What is recorded is not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cfamc_zoo.atomic import atomic_file, storage_errors
from cfamc_zoo.datasets import NAMED, SAMPLES
from cfamc_zoo.errors import OutputExistsError, UsageError
from cfamc_zoo.evaluation.classifier_measurement import ClassifierMeasurement
from cfamc_zoo.evaluation.heads.classifiers import classifier_of, with_classes_of
from cfamc_zoo.evaluation.heads.fitting import fit_release
from cfamc_zoo.evaluation.plan import Asked, Plan
from cfamc_zoo.evaluation.protocols import AttackTerms, Protocol
from cfamc_zoo.evaluation.subject import head_split, measured_images
from cfamc_zoo.progress import Progress, Say, silent
from cfamc_zoo.typed import read
from cfamc_zoo.zoo.catalogue.resolve import open_folder
from cfamc_zoo.zoo.release.config import refused
from cfamc_zoo.zoo.release.folder import PROBE, RESULTS, Release, write_files
from cfamc_zoo.zoo.release.plain_json import parse_json
from cfamc_zoo.zoo.release.results import (
    OWN_PROTOCOL,
    AccuracyRow,
    Row,
    accuracies,
    differences,
    parse_rows,
    read_results,
    rows_text,
)

RECORDS = ".measured"  # what the folder of a release's records ends in


@dataclass(frozen=True)
class Terms:
    """How a release is measured, whatever the protocol.

    Attributes:
        device: where.
        data: a named set or a folder; its training images fit the heads, its test images are
            attacked. "" is what the model was trained on.
        name: the model's, in the commands that measure the same again; "" is the release's.
        limit: how many training and test images are used at most.
        seed: of all draws.
    """

    device: torch.device
    data: str = ""
    name: str = ""
    limit: int | None = None
    seed: int = 0

    def of(self, release: Release) -> Terms:
        """With the release's own data and name where none are given; a folder's path whole.

        Raises:
            UsageError: the release does not say its data.
        """
        data = self.data or str(release.config.recipe.get("data", ""))
        if not data:
            raise UsageError(f"release {release.config.name!r} does not say its data; give --data")
        if data not in (*NAMED, *SAMPLES) and Path(data).exists():
            data = str(Path(data).absolute())
        return replace(self, data=data, name=self.name or release.config.name)

    def asked(self, protocol: Protocol) -> dict[str, Any]:
        """All that the values depend on, as JSON."""
        own = {"data": self.data, "name": self.name, "limit": self.limit, "seed": self.seed}
        found: dict[str, Any] = json.loads(json.dumps({**own, "protocol": asdict(protocol)}))
        return found


@dataclass(frozen=True)
class Record:
    """What one protocol gave.

    Attributes:
        sha256: of the weights.
        asked: `Terms.asked`.
        head: how the head was fitted; {} where the release had it before.
        doubts: reasons not to believe the rows.
        rows: those of results.json.
    """

    sha256: str
    asked: dict[str, Any]
    head: dict[str, Any]
    doubts: list[str]
    rows: list[Any]

    @property
    def key(self) -> str:
        return str(self.asked["protocol"]["key"])

    def parsed(self) -> list[Row]:
        return parse_rows(json.dumps(self.rows).encode(), f"the record of {self.key!r}")


def measure(
    folder: Path,
    protocols: Sequence[Protocol],
    terms: Terms,
    *,
    say: Say = lambda text: None,
    progress: Progress = silent,
) -> Release:
    """Fills a release's results.json; its head comes with the protocol of the released head.

    After each protocol its rows are in the release, and what is recorded is not measured again,
    so that this can be stopped and started.

    Args:
        folder: of the release, or of the training run that made it.
        protocols: in this order.
        terms: the same for all of them.
        say: told what a person should know.
        progress: opens a bar of a description and a total.

    Raises:
        UsageError: no such folder or data; two protocols of one name or sentence; a head of which
            it is not known how it was chosen.
        OutputExistsError: a record of other weights or other terms.
        ReleaseError: not a release, or a record that is none.
        DataError, ModelError, StorageError: as the attack and the fit have them.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{str(folder)!r} is not a folder, and results are written into one; give a run or a "
            "release folder, as `cfamc-zoo pull NAME --dest FOLDER` makes it"
        )
    for part in ("key", "text"):
        names = [getattr(protocol, part) for protocol in protocols]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"two protocols have the {part} {twice!r}; give one of them")
    release = open_folder(folder)
    terms = terms.of(release)
    kept = {protocol.key: recorded(release, protocol, terms) for protocol in protocols}
    for protocol in protocols:
        _check_head(release, protocol)
    with storage_errors(records_of(release)):
        records_of(release).mkdir(exist_ok=True)
    for protocol in protocols:
        record = kept[protocol.key]
        if record is None:
            say(f"protocol {protocol.key}: {protocol.text}")
            record = _measured(release, protocol, terms, say, progress)
            write_record(_file(release, protocol), record)
        release = fill(release, record)
    return release


def records_of(release: Release) -> Path:
    """The folder of a release's records."""
    return release.folder.with_name(release.folder.name + RECORDS)


def read_record(file: Path) -> Record:
    """What was kept of one measurement.

    Raises:
        ReleaseError: the file is no record.
    """
    with refused(str(file)):
        return read(Record, parse_json(file.read_bytes(), str(file)), "record")


def write_record(file: Path, record: Record) -> None:
    """Keeps it, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_file(file) as path:
        path.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def read_records(folder: Path) -> list[Record]:
    """Every record in a folder, that of the released head first.

    Raises:
        ReleaseError: one is none.
    """
    found = [read_record(file) for file in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda record: record.asked["protocol"]["text"] != OWN_PROTOCOL)


def recorded(release: Release, protocol: Protocol, terms: Terms) -> Record | None:
    """What was measured before; None where nothing was.

    Raises:
        OutputExistsError: it was measured of other weights, or otherwise.
    """
    file = _file(release, protocol)
    if not file.exists():
        return None
    record, asked = read_record(file), terms.asked(protocol)
    differing = [key for key in asked if record.asked.get(key) != asked[key]]
    differing += ["weights"] if record.sha256 != release.digest else []
    if differing:
        raise OutputExistsError(
            f"{str(file)!r} was measured with another {', '.join(differing)}; move it away, or "
            "ask for the same"
        )
    return record


def fill(release: Release, record: Record) -> Release:
    """The release with the rows of a record in place of what it had of that protocol.

    The released head's come first, how far the back ends are apart last.

    Raises:
        StorageError: it cannot be written.
    """
    before, rows = read_results(release), accuracies(record.parsed())
    text = record.asked["protocol"]["text"]
    others = [row for row in accuracies(before) if row.protocol != text]
    every: list[AccuracyRow] = sorted([*others, *rows], key=lambda r: r.protocol != OWN_PROTOCOL)
    files = {RESULTS: rows_text([*every, *differences(before)])}
    if text == OWN_PROTOCOL and record.head:
        files[PROBE] = (records_of(release) / record.head["output"]).read_bytes()
    return write_files(release.folder, release.config, files)


def _file(release: Release, protocol: Protocol) -> Path:
    return records_of(release) / f"{protocol.key}.json"


def _carried(release: Release, protocol: Protocol) -> bool:
    """Whether the protocol's head is in the release, and was not put there from a record."""
    if not (protocol.released and release.has(PROBE)):
        return False
    made = records_of(release) / protocol.file
    return not made.exists() or made.read_bytes() != release.read(PROBE)


def _check_head(release: Release, protocol: Protocol) -> None:
    """A head that was chosen otherwise is not passed off as the protocol's."""
    if not protocol.fits:
        return
    known = any(row.protocol == protocol.text for row in read_results(release))
    if _carried(release, protocol) and not known:
        raise UsageError(
            f"release {release.config.name!r} has a head that does not say how it was chosen, so "
            f"protocol {protocol.key!r} is not its own; export it without --probe, or measure it "
            f"with `cfamc-zoo attack -m {release.folder}`"
        )


def _measured(
    release: Release, protocol: Protocol, terms: Terms, say: Say, progress: Progress
) -> Record:
    if _carried(release, protocol):
        rows, doubts = _attacked(release, protocol, terms, None, say, progress)
        return Record(release.digest, terms.asked(protocol), {}, doubts, rows)
    if not protocol.fits:
        raise UsageError(
            f"release {release.config.name!r} has no head for protocol {protocol.key!r}; "
            "give --protocol own first"
        )
    fitted = fit_release(
        release,
        terms.data,
        protocol.head.settings(seed=terms.seed),
        device=terms.device,
        crops=protocol.head.crops,
        limit=terms.limit,
        say=say,
        progress=progress,
    )
    # Under its own name once it is measured: that of a record is taken for the release's head.
    head_file = records_of(release) / protocol.file
    partial = head_file.with_suffix(".partial")
    fitted.save(partial)
    rows, doubts = _attacked(release, protocol, terms, partial, say, progress)
    with storage_errors(head_file):
        partial.replace(head_file)
    head = {"model": terms.name, **fitted.to_json(), "output": protocol.file}
    return Record(release.digest, terms.asked(protocol), head, doubts, rows)


def _attacked(
    release: Release,
    protocol: Protocol,
    terms: Terms,
    probe: Path | None,
    say: Say,
    progress: Progress,
) -> tuple[list[Any], list[str]]:
    """Rows and doubts of every attack on every set; `probe` is None for the release's head."""
    made = protocol.fitting(terms.name, terms.data, terms.limit, terms.seed)
    named = replace(release, config=replace(release.config, name=terms.name))
    classifier, split = classifier_of(release, probe), head_split(release, probe)
    rows, doubts = [], []
    for data in protocol.data(terms.data):
        images = measured_images(
            release, data, limit=terms.limit, seed=terms.seed, split=split, say=say
        )
        images = with_classes_of(classifier, images, model=terms.name, data=data)
        for attack in protocol.attacks:
            plan = _plan(attack, data, terms)
            measurement = ClassifierMeasurement(classifier, named, images, plan, terms.device)
            go_through(measurement, say, progress)
            doubts += [doubt.text for doubt in measurement.doubts]
            answer = measurement.to_json("complete")
            rows += [row.to_json() for row in protocol.rows(answer, made)]
    for doubt in doubts:
        say(f"warning: {doubt}")
    return rows, doubts


def go_through(measurement: ClassifierMeasurement, say: Say, progress: Progress) -> None:
    """Runs a measurement, with its notes and a bar for a person."""
    for note in measurement.notes:
        say(f"note: {note}")
    with progress(measurement.title, measurement.total) as bar:
        measurement.run(bar.advance, lambda text: say(f"note: {text}"))


def _plan(attack: AttackTerms, data: str, terms: Terms) -> Plan:
    asked = Asked(None, data, limit=terms.limit)
    return Plan(attack.choice, attack.threats, terms.seed, asked)
