"""`cfamc-zoo measure`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.accuracies import show_accuracies
from cfamc_zoo.cli.options import Device, Json, Limit, Seed, Threads

EXAMPLES = (
    "cfamc-zoo measure run",
    "cfamc-zoo measure my-encoder --protocol clean-head --limit 1000",
)


def measure(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN|RELEASE", help="A training run, or a release folder.")
    ],
    protocol: Annotated[
        str,
        typer.Option(help="Names or TOML files, several with commas. [default: own,clean-head]"),
    ] = "",
    data: Annotated[
        str | None, typer.Option(help="A named set or a folder. [default: the model's own]")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="The model's name in the rows' commands. [default: the release's]"),
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure a release by protocols, into its results.json."""
    from cfamc_zoo.allocator import keep_freed_memory
    from cfamc_zoo.evaluation import records
    from cfamc_zoo.evaluation.protocols import USUAL, load_protocol
    from cfamc_zoo.export.card import renew_card
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.zoo.device import find_device
    from cfamc_zoo.zoo.release.results import accuracies, read_results

    names = [part.strip() for part in protocol.split(",") if part.strip()] or USUAL
    protocols = [load_protocol(name) for name in dict.fromkeys(names)]
    use_threads(threads)
    keep_freed_memory()
    terms = records.Terms(find_device(device), data or "", name or "", limit, seed)
    release = records.measure(folder, protocols, terms, say=output.note, progress=output.progress)
    renew_card(release)
    texts = {protocol.text for protocol in protocols}
    rows = [row for row in accuracies(read_results(release)) if row.protocol in texts]
    if json:
        found = {"folder": str(release.folder), "records": str(records.records_of(release))}
        output.json_result({**found, "results": [row.to_json() for row in rows]})
        return
    show_accuracies(rows)
