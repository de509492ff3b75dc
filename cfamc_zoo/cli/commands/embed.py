"""`cfamc-zoo embed`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Json, Model
from cfamc_zoo.embedding.backends import BACKENDS
from cfamc_zoo.errors import UnknownNameError
from cfamc_zoo.zoo.network.spec import FEATURES


def embed(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Image files, folders or patterns.")
    ],
    model: Model = None,
    out: Annotated[
        Path, typer.Option("-o", "--output", help=".parquet, .npy, .csv or .jsonl.")
    ] = Path("embeddings.parquet"),
    features: Annotated[
        str, typer.Option(help="backbone, representation or projection.")
    ] = "backbone",
    backend: Annotated[str, typer.Option(help=f"{' or '.join(BACKENDS)}.")] = "onnx",
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 32,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the model. [default: one a core]")
    ] = None,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Scale vectors to unit length.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished output.")
    ] = False,
    json: Json = False,
) -> None:
    """Turn images into vectors."""
    for kind, name, known in (("feature", features, FEATURES), ("backend", backend, BACKENDS)):
        if name not in known:
            raise UnknownNameError(kind, name, known)

    from cfamc_zoo.allocator import return_freed_memory
    from cfamc_zoo.embedding.inputs import find_images
    from cfamc_zoo.embedding.job import Settings, check_output, embed_to_file
    from cfamc_zoo.folders import describe

    return_freed_memory()
    check_output(out, existing="replace" if overwrite else "refuse")
    release = open_model(model)
    found = find_images(inputs)
    paths = found.paths
    if found.left_out:
        output.note(describe(found.left_out))
    settings = Settings(features, backend, normalize)
    started = time.perf_counter()
    try:
        with output.progress("embedding", len(paths)) as bar:
            outcome = embed_to_file(
                paths,
                release,
                out,
                settings=settings,
                device=device,
                threads=threads,
                batch_size=batch_size,
                advance=bar.advance,
            )
    except KeyboardInterrupt:
        output.note("interrupted; the same command goes on from its last finished part")
        raise
    seconds = time.perf_counter() - started
    if outcome.discarded:
        output.note("an unfinished job of other inputs or settings was discarded")
    if outcome.resumed:
        output.note(f"went on after {outcome.resumed} images of an unfinished job")
    for path, reason in outcome.unreadable:
        output.note(f"unreadable: {path}: {reason}")
    dimension = release.config.architecture.dimension(features)
    rate = (len(paths) - outcome.resumed) / seconds
    if json:
        output.json_result(
            {
                "output": str(out) if outcome.written else None,
                "model": release.config.name,
                "sha256": release.digest,
                "feature": features,
                "dimension": dimension,
                "written": outcome.written,
                "resumed": outcome.resumed,
                "left_out": dict(found.left_out),
                "unreadable": [{"path": p, "reason": r} for p, r in outcome.unreadable],
                "seconds": round(seconds, 3),
            }
        )
    elif outcome.written:
        output.note(
            f"{outcome.written} images, {dimension} values each, {rate:,.0f} images/s, "
            f"{features} of {release.config.name}"
        )
        output.result(str(out))
    if outcome.unreadable:
        end = "" if outcome.written else "; nothing was written"
        output.note(f"{len(outcome.unreadable)} of {len(paths)} images could not be read{end}")
        raise typer.Exit(1)
