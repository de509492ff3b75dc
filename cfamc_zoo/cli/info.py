"""`cfamc-zoo info`."""

from __future__ import annotations

from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Json


def info(
    name: Annotated[str, typer.Argument(help="A model's name or a release folder.")],
    json: Json = False,
) -> None:
    """Show one model's card: what it is, how it was made, what was measured."""
    from cfamc_zoo.zoo.results import accuracies, differences, read_results

    release = open_model(name)
    config = release.config
    rows = read_results(release)
    if json:
        output.json_result({**config.to_json(), "results": rows})
        return
    a = config.architecture
    threat = config.threat_model
    facts = [
        ("name", config.name),
        ("backbone", f"{a.backbone}, {a.stem} stem, width {a.width}"),
        ("features", f"backbone {a.features}, representation {a.representation}"),
        ("input", f"RGB in [0, 1], {config.preprocess.size} x {config.preprocess.size}"),
        ("trained against", f"{threat['norm']} {threat['eps']}" if threat else "nothing"),
        ("recipe", f"{config.recipe.get('name')} on {config.recipe.get('data')}"),
        ("licence", config.licence),
        ("folder", str(release.folder)),
        *((file, f"{record.size:,} bytes") for file, record in config.files.items()),
    ]
    output.table(("", ""), facts)
    measured = accuracies(rows)
    for protocol in dict.fromkeys(row["protocol"] for row in measured):
        output.result(f"\n{protocol}")
        output.table(
            ("data", "metric", "attack", "eps", "%", "95% interval", "images"),
            [
                (
                    row["data"],
                    row["metric"],
                    row["attack"] or "-",
                    row["eps"] or "-",
                    f"{row['value']:.2f}",
                    f"{row['low']:.2f}..{row['high']:.2f}",
                    str(row["n"]),
                )
                for row in measured
                if row["protocol"] == protocol
            ],
            right=(4, 6),
        )
    if apart := differences(rows):
        output.table(
            ("data", "feature", "torch and ONNX Runtime", "value", "limit", "images"),
            [
                (
                    row["data"],
                    row["feature"],
                    row["metric"],
                    f"{row['value']:.1e}",
                    f"{row['limit']:.1e}",
                    str(row["n"]),
                )
                for row in apart
            ],
            right=(3, 4, 5),
        )
