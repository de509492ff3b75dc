"""`cfamc-zoo verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Device, Json, Limit, Threads

if TYPE_CHECKING:
    from cfamc_zoo.verification.finding import Depth
    from cfamc_zoo.verification.verify import Verification

EXAMPLES = (
    "cfamc-zoo verify resnet18-thin-cifar10-free",
    "cfamc-zoo verify my-encoder --limit 50 --report page.html",
)


def verify(
    name: Annotated[str, typer.Argument(help="A model's name, a folder or ORGANIZATION/NAME.")],
    full: Annotated[
        bool,
        typer.Option(
            "--full/--quick", help="Every row on its own data, or those of the bundled sample."
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(help="Keep what is measured in this folder; the same command goes on."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page here (.html).")] = None,
    limit: Limit = None,
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure again what a model's card claims."""
    from cfamc_zoo.allocator import keep_freed_memory
    from cfamc_zoo.evaluation.outputs import Outputs
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.verification.finding import Terms
    from cfamc_zoo.verification.verify import verify as verify_release
    from cfamc_zoo.zoo.device import find_device

    Outputs(report=report).check()
    use_threads(threads)
    keep_freed_memory()
    depth: Depth = "full" if full else "quick"
    terms = Terms(find_device(device), depth, limit, state, output.note, output.progress)
    found = verify_release(open_model(name), name, terms)
    if report is not None:
        _write(report, found)
    _show(found, json)
    if not found.stands:
        raise typer.Exit(1)


def _write(report: Path, found: Verification) -> None:
    from cfamc_zoo.atomic import atomic_file
    from cfamc_zoo.verification.page import render_verification

    page = render_verification(found)
    with atomic_file(report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _show(found: Verification, json: bool) -> None:
    if json:
        output.json_result(found.to_json())
    else:
        for title, findings in found.tables.items():
            rows = [
                (f.subject, f.claim or "-", f.measured or "-", f.tolerance or "-", f.verdict.value)
                for f in findings
            ]
            output.result(f"\n{title}")
            output.table(("claim of", "claim", "measured", "tolerance", "verdict"), rows)
    for note in found.notes:
        output.note(f"warning: {note}")
    output.note(found.summary)
