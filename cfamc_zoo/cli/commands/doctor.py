"""`cfamc-zoo doctor`."""

from __future__ import annotations

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Json

EXAMPLES = (
    "cfamc-zoo doctor",
    "cfamc-zoo doctor --json",
)


def doctor(json: Json = False) -> None:
    """Say what is installed, which devices work, and what to do about the rest."""
    from dataclasses import asdict

    from cfamc_zoo.doctor import examine

    findings = examine()
    if json:
        output.json_result({"findings": [asdict(f) for f in findings]})
    else:
        output.table(
            ("", "what", "found", "to do"),
            [(f.state, f.what, f.found, f.remedy) for f in findings],
        )
    if any(f.state == "broken" for f in findings):
        raise typer.Exit(1)
