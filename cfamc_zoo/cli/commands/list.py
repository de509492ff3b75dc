"""`cfamc-zoo list`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Json
from cfamc_zoo.datasets import base_of
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.network.families.known import architecture_from
from cfamc_zoo.zoo.release.results import partial_images

MEASURES = {"clean": registry.CLEAN, "4/255": registry.AT_4, "8/255": registry.AT_8}
NAME = "name"  # to sort by, beside the measures
MARK = "*"  # beside what was measured on few images

EXAMPLES = (
    "cfamc-zoo list",
    "cfamc-zoo list cifar10 --sort 8/255",
    "cfamc-zoo list --remote cfamc-zoo --csv",
)


def list(
    pattern: Annotated[
        str | None,
        typer.Argument(help="List names that contain this, or match it, like *-thin-*."),
    ] = None,
    remote: Annotated[
        str | None,
        typer.Option(metavar="ORGANIZATION", help="List what this one has on the Hub instead."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help=f"{', '.join((*MEASURES, NAME))}; best first. [default: 8/255]"),
    ] = None,  # and not 8/255: typer would import pydantic, 80 ms, to take it
    csv: Annotated[bool, typer.Option("--csv", help="The table as CSV.")] = False,
    json: Json = False,
) -> None:
    """List the models and what was measured of them."""
    sort = "8/255" if sort is None else sort
    if sort not in (*MEASURES, NAME):
        raise UnknownNameError("order", sort, (*MEASURES, NAME))
    if csv and json:
        raise UsageError("--csv and --json are two forms of the same; give one")
    found, left_out = (registry.list_models(), {}) if remote is None else _on_the_hub(remote)
    specs = _sorted(_matching(found, pattern), sort)
    if json:
        output.json_result({"models": [asdict(spec) for spec in specs], "left_out": left_out})
        return
    rows = [
        (
            spec.name,
            " ".join((network.name, *network.details[:1])),
            _data(spec),
            spec.threat(),
            *(_accuracy(spec, measure) for measure in MEASURES.values()),
            "in the package" if spec.bundled else "on the Hub",
        )
        for spec in specs
        for network in [architecture_from(spec.architecture)]
    ]
    headers = ("name", "backbone", "data", "threat", *MEASURES, "weights")
    if csv:
        output.csv_table(headers, rows)
    else:
        output.table(_narrow(headers), [_narrow(row) for row in rows], right=(3, 4, 5))
    if specs:
        output.note("accuracies in percent, with the released head: `cfamc-zoo info NAME`")
    for spec in specs:
        if few := partial_images([row for row in map(spec.find, MEASURES.values()) if row]):
            output.note(f"{MARK} {spec.name}: on {few}")


def _matching(
    specs: Sequence[registry.ModelSpec], pattern: str | None
) -> Sequence[registry.ModelSpec]:
    if pattern is None:
        return specs
    wanted = pattern.lower()
    glob = wanted if any(c in wanted for c in "*?[") else f"*{wanted}*"
    found = [spec for spec in specs if fnmatchcase(spec.name.lower(), glob)]
    if not found:
        raise UnknownNameError("model", pattern, [spec.name for spec in specs])
    return found


def _sorted(specs: Sequence[registry.ModelSpec], sort: str) -> Sequence[registry.ModelSpec]:
    """Best first, those that were not measured last; equal ones in the order that they came in."""
    if sort == NAME:
        return sorted(specs, key=lambda spec: spec.name)
    return sorted(specs, key=lambda spec: -(spec.accuracy(MEASURES[sort]) or 0.0))


def _narrow(row: Sequence[str]) -> Sequence[str]:
    """Data and threat in one column: with two the table does not fit into 80 characters."""
    name, backbone, data, threat, *rest = row
    return (name, backbone, f"{data} {threat}".lstrip(), *rest)


def _data(spec: registry.ModelSpec) -> str:
    """The set that its accuracies are of."""
    row = spec.find(registry.CLEAN)
    return base_of(row.data) if row else ""


def _accuracy(spec: registry.ModelSpec, measure: registry.Measure) -> str:
    row = spec.find(measure)
    if row is None:
        return "-"
    return f"{row.value:.2f}{MARK if row.partial else ''}"


def _on_the_hub(owner: str) -> tuple[Sequence[registry.ModelSpec], Mapping[str, str]]:
    """The models, and by repository why another is none."""
    from cfamc_zoo.zoo.catalogue.listing import list_remote

    listing = list_remote(owner)
    for repo, why in listing.left_out.items():
        output.note(f"left out {repo}: {why}")
    if not listing.models:
        output.note(f"{owner} has no models that cfamc-zoo can read")
    return listing.models, listing.left_out
