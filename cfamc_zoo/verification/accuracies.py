"""Every accuracy of a card, measured again by its own command's terms."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cfamc_zoo.datasets import SAMPLES
from cfamc_zoo.errors import ReleaseError, StorageError, ZooError
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
from cfamc_zoo.evaluation.classifier_measurement import ClassifierMeasurement
from cfamc_zoo.evaluation.heads.classifiers import classifier_of, with_classes_of
from cfamc_zoo.evaluation.heads.fitting import fit_release
from cfamc_zoo.evaluation.plan import Asked, Plan
from cfamc_zoo.evaluation.protocols import verdicts_text
from cfamc_zoo.evaluation.records import Record, go_through, read_record, write_record
from cfamc_zoo.evaluation.robustness import Accuracy
from cfamc_zoo.evaluation.subject import head_split, measured_images
from cfamc_zoo.typed import read
from cfamc_zoo.verification.again import Again, Fit, read_command
from cfamc_zoo.verification.finding import Finding, Terms, Verdict
from cfamc_zoo.verification.judging import CHECK, claim_of, judged, subject_of
from cfamc_zoo.zoo.release.folder import PROBE, RESULTS, Release
from cfamc_zoo.zoo.release.results import AccuracyRow, accuracies, read_results

# A quick verification takes of the sample as many images as it has the time for, at least some.
SECONDS, FEWEST = 60.0, 20


@dataclass(frozen=True)
class Kept:
    """An accuracy as a record holds it; `correct` is as in a row."""

    metric: str
    attack: str
    eps: str
    correct: str

    def accuracy(self) -> Accuracy:
        return Accuracy(self.metric, self.attack, self.eps, [c == "1" for c in self.correct], 0.0)


def check_accuracies(release: Release, terms: Terms) -> Iterator[Finding]:
    """Clean and robust accuracies: of the bundled sample with the release's own head, or all.

    An ensemble of attacks, which takes hours, is not among the quick ones.
    """
    rows = accuracies(read_results(release))
    if not rows:
        yield Finding(CHECK, RESULTS, "", "", "", Verdict.NOT_STORED)
    for command in dict.fromkeys(row.command for row in rows):
        claims = [row for row in rows if row.command == command]
        try:
            again = read_command(command)
            if terms.depth == "quick" and not _is_quick(again):
                yield from (_left(row, Verdict.LEFT_OUT) for row in claims)
                continue
            limit = terms.limit
            if terms.depth == "quick" and limit is None:
                limit = _affordable(release, command, again, terms, max(row.n for row in claims))
            found = measure_again(release, command, again, replace(terms, limit=limit))
        except StorageError:
            raise
        except ZooError as error:
            yield from (_left(row, Verdict.UNCHECKED, str(error)) for row in claims)
            continue
        for row in claims:
            try:
                yield judged(row, _of(row, again, found))
            except ReleaseError as error:
                yield _left(row, Verdict.FAILS, f"{subject_of(row)}: {error}")


def _is_quick(again: Again) -> bool:
    ensemble = isinstance(again.attack.choice.attack(), Ensemble)
    return again.fit is None and again.data in SAMPLES and not ensemble


def _left(row: AccuracyRow, verdict: Verdict, note: str = "") -> Finding:
    numbers = {"claim": row.value, "images": row.n}
    return Finding(
        CHECK, subject_of(row), claim_of(row), "", "", verdict, note, numbers, row.protocol
    )


def _of(row: AccuracyRow, again: Again, found: list[Accuracy]) -> Accuracy:
    """The measured accuracy that a row claims.

    Raises:
        ReleaseError: the row's command does not measure what the row says.
    """
    said = (row.data, row.norm or again.attack.norm, row.seed if row.attack else again.seed)
    measured = (Path(again.data).name, again.attack.norm, again.seed)
    for accuracy in found:
        same = (accuracy.metric, accuracy.attack, accuracy.eps) == (row.metric, row.attack, row.eps)
        if same and said == measured:
            return accuracy
    raise ReleaseError("its command measures something else than it says")


def _affordable(
    release: Release, command: str, again: Again, terms: Terms, claimed: int
) -> int | None:
    """How many images a quick verification takes of so many; None is all.

    Some are measured to see what an image costs.
    """
    begun = time.monotonic()
    measure_again(release, command, again, replace(terms, limit=FEWEST))
    affordable = FEWEST * SECONDS / (time.monotonic() - begun)
    return None if affordable >= claimed else max(1, int(affordable / FEWEST)) * FEWEST


def measure_again(release: Release, command: str, again: Again, terms: Terms) -> list[Accuracy]:
    """What the command of a row measures, or has measured as the state knows.

    Args:
        command: of the row.
        again: the same, read.

    Raises:
        UsageError, DataError, HubError: its images cannot be had.
        ReleaseError, ModelError: the release cannot be used.
        StorageError: the state cannot be written.
    """
    limits = [limit for limit in (again.limit, terms.limit) if limit is not None]
    limit = min(limits, default=None)
    head = release.config.files[PROBE].sha256 if release.has(PROBE) else ""
    asked = {"command": command, "limit": limit, "head": head}
    name = _name(f"{release.digest} {asked}", ".json")
    file = None if terms.state is None else terms.state / name
    if file is not None and file.exists():
        record = read_record(file)
        if (record.sha256, record.asked) == (release.digest, asked):
            return [read(Kept, kept, "record").accuracy() for kept in record.rows]
    with _folder(terms) as folder:
        probe = None if again.fit is None else _fitted(release, again.fit, terms, Path(folder))
        measurement = _measured(release, again, probe, limit, terms)
    found = measurement.accuracies
    doubts = [doubt.text for doubt in measurement.doubts]
    for doubt in doubts:
        terms.say(f"warning: {doubt}")
    if file is not None:
        rows = [Kept(a.metric, a.attack, a.eps, verdicts_text(a.correct)) for a in found]
        write_record(file, Record(release.digest, asked, {}, doubts, [asdict(r) for r in rows]))
    return found


def _measured(
    release: Release, again: Again, probe: Path | None, limit: int | None, terms: Terms
) -> ClassifierMeasurement:
    """The attack of the command, on the images of the command."""
    classifier = classifier_of(release, probe, again.crops, again.seed)
    images = measured_images(
        release,
        again.data,
        limit=limit,
        seed=again.seed,
        split=head_split(release, probe),
        say=terms.say,
    )
    images = with_classes_of(classifier, images, model=release.config.name, data=again.data)
    asked = Asked(None, again.data, limit=limit)
    plan = Plan(again.attack.choice, again.attack.threats, again.seed, asked)
    measurement = ClassifierMeasurement(classifier, release, images, plan, terms.device)
    go_through(measurement, terms.say, terms.progress)
    return measurement


def _fitted(release: Release, fit: Fit, terms: Terms, folder: Path) -> Path:
    """The head of a command, fitted anew once."""
    file = folder / _name(f"{release.digest} {fit}", ".safetensors")
    if not file.exists():
        fitted = fit_release(
            release,
            fit.data,
            fit.terms.settings(seed=fit.seed),
            device=terms.device,
            crops=fit.terms.crops,
            limit=fit.limit,
            say=terms.say,
            progress=terms.progress,
        )
        fitted.save(file)
    return file


def _folder(terms: Terms) -> nullcontext[Path] | tempfile.TemporaryDirectory[str]:
    """Where heads lie: in the state, or for as long as they are needed."""
    if terms.state is None:
        return tempfile.TemporaryDirectory(prefix="cfamc-zoo-")
    return nullcontext(terms.state)


def _name(what: str, suffix: str) -> str:
    return f"{hashlib.sha256(what.encode()).hexdigest()[:16]}{suffix}"
