"""`cfamc-zoo list`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Json
from cfamc_zoo.zoo import registry


def list(
    remote: Annotated[
        str | None,
        typer.Option(metavar="ORGANIZATION", help="List what this one has on the Hub instead."),
    ] = None,
    json: Json = False,
) -> None:
    """List the models and what was measured of them."""
    specs, left_out = (registry.list_models(), {}) if remote is None else _on_the_hub(remote)
    if json:
        output.json_result({"models": [asdict(spec) for spec in specs], "left_out": left_out})
        return
    rows = [
        (
            spec.name,
            f"{spec.architecture['backbone']}, width {spec.architecture['width']}",
            spec.threat(),
            spec.accuracy("clean accuracy", ""),
            spec.accuracy("robust accuracy", "4/255"),
            spec.accuracy("robust accuracy", "8/255"),
            "in the package" if spec.bundled else "on the Hub",
        )
        for spec in specs
    ]
    headers = ("name", "backbone", "trained against", "clean", "4/255", "8/255", "weights")
    output.table(headers, rows, right=(3, 4, 5))
    if specs:
        output.note("accuracies in percent, with the released head: `cfamc-zoo info NAME`")


def _on_the_hub(owner: str) -> tuple[Sequence[registry.ModelSpec], Mapping[str, str]]:
    """The models, and by repository why another is none."""
    from cfamc_zoo.zoo.listing import list_remote

    listing = list_remote(owner)
    for repo, why in listing.left_out.items():
        output.note(f"left out {repo}: {why}")
    if not listing.models:
        output.note(f"{owner} has no models that cfamc-zoo can read")
    return listing.models, listing.left_out
