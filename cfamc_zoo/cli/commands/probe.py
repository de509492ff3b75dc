"""`cfamc-zoo probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.atomic import check_folder_of
from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_measured
from cfamc_zoo.cli.options import Device, Json, Limit, Measured, Seed, Threads

EXAMPLES = (
    "cfamc-zoo probe --data photos/ -o head.safetensors",
    "cfamc-zoo probe --data photos/ --select robust",
)


def probe(
    model: Measured = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A named set, or a folder with train/ and test/, or of class folders, of which "
            "a fifth is held out. [default: the model's own]"
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="backbone, representation or projection. [default: what the release's own reads]"
        ),
    ] = None,
    head: Annotated[
        str, typer.Option(help="linear, or published: the paper's script's schedule.")
    ] = "linear",
    select: Annotated[
        str, typer.Option(help="What held-out training images choose a head by: clean or robust.")
    ] = "clean",
    crops: Annotated[
        int | None, typer.Option(min=1, help="Take the mean of N crops. [default: the whole image]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the head here (.safetensors).")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Fit a linear head on frozen features; report its accuracy."""
    if out is not None:
        check_folder_of(out)

    from cfamc_zoo.evaluation.heads.fitting import ProbeSettings, fit_release
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.zoo.device import find_device

    use_threads(threads)
    settings = ProbeSettings(features or "", head, select, seed)
    release = open_measured(model)
    probe = fit_release(
        release,
        data,
        settings,
        device=find_device(device),
        crops=crops,
        limit=limit,
        say=output.note,
        progress=output.progress,
    )
    if out is not None:
        probe.save(out)
    if json:
        named = {"model": release.config.name, "sha256": release.digest}
        output.json_result({**named, **probe.to_json(), "output": str(out) if out else None})
        return
    low, high = probe.interval
    chosen = f", decay {probe.chosen.decay}" if probe.chosen else ""
    output.table(
        ("feature", "head", "crops", "train %", "test %", "95% interval", f"{probe.k}-NN %"),
        [
            (
                probe.settings.feature,
                f"{head}{chosen}",
                str(crops or "-"),
                f"{probe.train_accuracy:.2f}",
                f"{probe.test_accuracy:.2f}",
                f"{low:.2f}..{high:.2f}",
                f"{probe.knn_accuracy:.2f}",
            )
        ],
        right=(2, 3, 4, 6),
    )
