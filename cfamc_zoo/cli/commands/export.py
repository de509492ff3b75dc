"""`cfamc-zoo export`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfamc_zoo.atomic import check_folder_of
from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_measured, open_model
from cfamc_zoo.cli.options import Json
from cfamc_zoo.errors import OutputExistsError, UsageError
from cfamc_zoo.zoo.catalogue.resolve import TIMM

if TYPE_CHECKING:
    from cfamc_zoo.zoo.network.encoder import Encoder
    from cfamc_zoo.zoo.release.config import ReleaseConfig
    from cfamc_zoo.zoo.release.folder import Release


SHOWN = 10  # names in a line

EXAMPLES = (
    "cfamc-zoo export run -o encoder",
    "cfamc-zoo export run --single-file encoder.onnx",
)


def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="A training run, a model or its folder, timm:NAME, package.module:factory, or "
            "with --layout a checkpoint."
        ),
    ],
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to make.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name. [default: the folder's]")
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(help="A head (.safetensors) to release with it, made by `cfamc-zoo probe`."),
    ] = None,
    single_file: Annotated[
        Path | None, typer.Option(help="Write this one self-contained ONNX file instead.")
    ] = None,
    classifier: Annotated[
        bool, typer.Option("--classifier", help="With --single-file: images to logits.")
    ] = False,
    layout: Annotated[
        str | None,
        typer.Option(
            help="What wrote the checkpoint: cf-amc-ssl, torchvision, timm, solo-learn, lightly, "
            "dino, byol or moco."
        ),
    ] = None,
    normalization: Annotated[
        str | None, typer.Option(help="With --layout: none, imagenet or cifar.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Of timm:NAME: a file, or random. [default: timm's own, from the Hub]"),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Pixels a side of timm:NAME's input. [default: timm's]"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of timm:NAME: an argument, as img_size."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a release folder, ONNX graph included, and check it."""
    target = out or single_file
    if target is None or (out and single_file):
        raise UsageError("give -o FOLDER for a release, or --single-file FILE.onnx; one of them")
    if classifier and not single_file:
        raise UsageError("--classifier goes with --single-file; a release has its head beside it")
    if target.exists():
        raise OutputExistsError(f"{str(target)!r} is already there; give another")
    check_folder_of(target)

    from cfamc_zoo.datasets import load_dataset
    from cfamc_zoo.export.publish import COMPARED

    if single_file is not None:
        from cfamc_zoo.export.single_file import export_single_file

        with output.progress(f"writing {single_file.name}", None):
            checked = export_single_file(
                _release(run),
                single_file.absolute(),
                kind="classifier" if classifier else "features",
                images=load_dataset("cifar10-sample", limit=COMPARED).images,
            )
        if json:
            output.json_result({"file": str(single_file), **checked})
        else:
            output.result(str(single_file))
        return

    from cfamc_zoo.export.release import export_release
    from cfamc_zoo.zoo.release.folder import PROBE
    from cfamc_zoo.zoo.release.loading import attach_probe

    with output.progress(f"reading {run.name}", None):
        if str(run).startswith(TIMM):
            if layout or normalization:
                raise UsageError(f"--layout is for a checkpoint, and {str(run)!r} is a network")
            encoder, config = _of_timm(str(run), weights, settings or (), size)
        elif weights or size or settings:
            raise UsageError(f"--weights, --size and --set go with {TIMM}NAME, not {str(run)!r}")
        else:
            encoder, config = _source(run, layout, normalization)
    others = {}
    if probe is not None:
        if not probe.is_file():
            raise UsageError(
                f"probe {str(probe)!r} is not a file; make one with "
                "`cfamc-zoo probe -o head.safetensors`"
            )
        others[PROBE] = probe.read_bytes()
        attach_probe(encoder, others[PROBE], str(probe))
    sample = load_dataset("cifar10-sample", limit=COMPARED)
    with output.progress(f"writing and checking {target.name}", None):
        release = export_release(
            encoder,
            replace(config, name=name or target.name, files={}),
            target.absolute(),
            images=sample.images,
            data=sample.name,
            others=others,
        )
    if json:
        files = {file: record.sha256 for file, record in release.config.files.items()}
        output.json_result({"name": release.config.name, "folder": str(target), "sha256": files})
        return
    for file, record in release.config.files.items():
        output.note(f"{record.size:>12,} {file}")
    output.result(str(target))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _release(run: Path) -> Release:
    return open_model(str(run))


def _of_timm(
    name: str, weights: str | None, settings: Sequence[str], size: int | None
) -> tuple[Encoder, ReleaseConfig]:
    """A network of timm's, and what is known of it."""
    from cfamc_zoo.export.timm_models import import_network

    imported = import_network(
        name.removeprefix(TIMM), weights=weights, settings=settings, size=size
    )
    if imported.left_out:
        output.note(f"left out: {_some(imported.left_out)}")
    return imported.encoder, imported.config


def _source(
    run: Path, layout: str | None, normalization: str | None
) -> tuple[Encoder, ReleaseConfig]:
    """What to release, and what is known of it."""
    from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig
    from cfamc_zoo.zoo.release.loading import load_encoder

    if not run.is_file():
        if layout or normalization:
            raise UsageError(f"--layout is for a checkpoint, and {str(run)!r} is no file")
        source = open_measured(str(run))
        return load_encoder(source), source.config
    if layout is None:
        raise UsageError(f"{str(run)!r} is a file; say with --layout what wrote it")
    from cfamc_zoo.export.foreign import import_checkpoint

    imported = import_checkpoint(run, layout, normalization=normalization)
    if imported.left_out:
        output.note(f"left out: {_some(imported.left_out)}")
    if imported.unopened:
        output.note(f"not opened, nor any code of it run: {_some(imported.unopened)}")
    config = ReleaseConfig(
        format_version=FORMAT_VERSION,
        name=run.stem,
        architecture=imported.encoder.architecture,
        preprocess=imported.encoder.preprocess,
        threat_model={},
        recipe={},
        provenance={"imported": {"layout": layout, "left_out": list(imported.left_out)}},
        licence="unknown",
    )
    return imported.encoder, config
