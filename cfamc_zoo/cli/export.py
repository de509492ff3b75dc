"""`cfamc-zoo export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Json
from cfamc_zoo.errors import OutputExistsError, UsageError


def export(
    run: Annotated[Path, typer.Argument(help="A finished training run, or a release folder.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name. [default: the folder's]")
    ] = None,
    probe: Annotated[
        Path | None, typer.Option(help="A head to release with it, made by `cfamc-zoo probe`.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a release folder, ONNX graph included, and check it."""
    if out.exists():
        raise OutputExistsError(f"{str(out)!r} is already there; give another -o")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"folder {str(out.parent)!r} does not exist; create it first")

    from cfamc_zoo.datasets import load_dataset
    from cfamc_zoo.export.release import export_release
    from cfamc_zoo.zoo.classifier import attach_probe
    from cfamc_zoo.zoo.weights import PROBE, load_encoder, open_release

    source = open_release(run / "release" if (run / "release").is_dir() else run)
    encoder = load_encoder(source)
    others = {}
    if probe is not None:
        if not probe.is_file():
            raise UsageError(f"probe {str(probe)!r} is not a file; make one with `cfamc-zoo probe`")
        others[PROBE] = probe.read_bytes()
        attach_probe(encoder, others[PROBE], str(probe))
    release = export_release(
        encoder,
        replace(source.config, name=name or out.name, files={}),
        out.absolute(),
        images=load_dataset("cifar10-sample").images[:256],
        others=others,
    )
    if json:
        output.json_result(release.config.to_json())
    else:
        for file, record in release.config.files.items():
            output.note(f"{record.size:>12,} {file}")
        output.result(str(out))
