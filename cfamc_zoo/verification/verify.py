"""The table of checks, and a release that goes through them. A new check is a line."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cfamc_zoo.atomic import check_folder_of, storage_errors
from cfamc_zoo.errors import DataError, ModelError, ReleaseError, UsageError
from cfamc_zoo.verification.accuracies import check_accuracies
from cfamc_zoo.verification.files import check_card, check_files, check_registry
from cfamc_zoo.verification.finding import Check, Finding, Terms, Verdict
from cfamc_zoo.verification.vectors import check_golden, check_parity
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.release.folder import Release


@dataclass(frozen=True)
class Entry:
    """A check; its findings stand under its title, where they are of no protocol."""

    title: str
    run: Check


FILES = "files: the registry pins config.json, which pins the others; the card follows from them"
CHECKS: Mapping[str, Entry] = {
    "registry": Entry(FILES, check_registry),
    "files": Entry(FILES, check_files),
    "card": Entry(FILES, check_card),
    "onnx": Entry("ONNX Runtime beside torch: largest relative difference", check_parity),
    "golden values": Entry("vectors as they were where the release was made", check_golden),
    "accuracies": Entry("accuracies", check_accuracies),
}


@dataclass(frozen=True)
class Verification:
    """What came out, claim by claim.

    Attributes:
        release: what was verified.
        asked: as it was asked for: a name, a folder or a repository.
        terms: how.
        findings: in the order of the table.
    """

    release: Release
    asked: str
    terms: Terms
    findings: list[Finding]

    @property
    def stands(self) -> bool:
        """Whether nothing speaks against any claim."""
        return all(finding.verdict.stands for finding in self.findings)

    @property
    def notes(self) -> list[str]:
        """What a person must read, each once."""
        return list(dict.fromkeys(finding.note for finding in self.findings if finding.note))

    @property
    def summary(self) -> str:
        """ "14 hold, 6 are left out (--full measures every row on its own data)"."""
        counts = Counter(finding.verdict for finding in self.findings)
        parts = [f"{counts[v]} {words}" for v, words in WORDS.items() if counts[v]]
        limit = self.terms.limit
        most = "" if limit is None else f"at most {limit:,} images of each set were measured"
        return ", ".join(parts) + (f"; partial: {most}" if most else "")

    @property
    def tables(self) -> dict[str, list[Finding]]:
        """Findings by their title."""
        tables: dict[str, list[Finding]] = {}
        for finding in self.findings:
            title = finding.protocol or CHECKS[finding.check].title
            tables.setdefault(title, []).append(finding)
        return tables

    @property
    def command(self) -> str:
        """What verifies the same again."""
        words = ["cfamc-zoo", "verify", self.asked, f"--{self.terms.depth}"]
        words += ["--limit", str(self.terms.limit)] if self.terms.limit is not None else []
        return shlex.join(words)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.release.config.name,
            "sha256": self.release.digest,
            "config_sha256": self.release.config_sha256,
            "depth": self.terms.depth,
            "limit": self.terms.limit,
            "holds": self.stands,
            "summary": self.summary,
            "findings": [finding.to_json() for finding in self.findings],
            "command": self.command,
            **environment(self.terms.device),
        }


WORDS = {
    Verdict.HOLDS: "hold",
    Verdict.FAILS: "do not hold",
    Verdict.LOWERED: "are lowered",
    Verdict.UNCHECKED: "cannot be checked",
    Verdict.NOT_STORED: "are not stored",
    Verdict.LEFT_OUT: "are left out (--full measures every row on its own data)",
}


def verify(release: Release, asked: str, terms: Terms) -> Verification:
    """Measures again what a release claims.

    Args:
        release: nothing of it is changed.
        asked: as it was asked for.
        terms: how.

    Raises:
        UsageError: the state is no folder, or in none.
        StorageError: it cannot be written.
        HubError: a file of the release is damaged, and the Hub cannot be reached.
    """
    if terms.state is not None:
        if terms.state.exists() and not terms.state.is_dir():
            raise UsageError(f"state {str(terms.state)!r} is not a folder; give another --state")
        check_folder_of(terms.state)
        with storage_errors(terms.state):
            terms.state.mkdir(exist_ok=True)
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings += check.run(release, terms)
        except (ReleaseError, DataError, ModelError) as error:
            findings.append(Finding(name, "all", "", "", "", Verdict.UNCHECKED, str(error)))
    return Verification(release, asked, terms, findings)
