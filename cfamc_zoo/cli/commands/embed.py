"""`cfamc-zoo embed`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Json, Model
from cfamc_zoo.embedding.executors import NAMES
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.network.spec import FEATURES

if TYPE_CHECKING:
    from cfamc_zoo.embedding.job import Outcome
    from cfamc_zoo.embedding.outputs import Output

DTYPES = ("float32", "float16")
BY = ("mtime", "content")
ON_ERROR = ("fail", "skip")

EXAMPLES = (
    "cfamc-zoo embed photos/ -o photos.parquet --columns size,mtime",
    "cfamc-zoo embed images/ -o vectors.parquet --update",
    "cfamc-zoo embed photos/ -m resnet18-cifar10-free -o robust.parquet",
)


def embed(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Image files, folders or patterns; .tar, .zip, .parquet; addresses like s3:// or "
            "https://; - for a list on standard input.",
        ),
    ],
    model: Model = None,
    out: Annotated[
        str,
        typer.Option(
            "-o", "--output", help=".parquet, .npy, .csv, .jsonl, or FOLDER/ of Parquet files."
        ),
    ] = "embeddings.parquet",
    features: Annotated[
        str, typer.Option(help="backbone, representation or projection.")
    ] = "backbone",
    backend: Annotated[str, typer.Option(help="onnx, torch, or ray for a cluster.")] = "onnx",
    device: Annotated[str | None, typer.Option(metavar="DEVICE", help="cpu or cuda.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 32,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the model, and of reading. [default: one a core]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of Ray. [default: as many as fit]")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="One share of the images, as 1/4: the first of four.")
    ] = None,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Scale vectors to unit length.")
    ] = False,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Zero bytes separate the list's names, not lines.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    columns: Annotated[
        str, typer.Option(help="More of each image, with commas: width,height,sha256,size,mtime.")
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished output.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Embed what is new or changed, drop what is gone.")
    ] = False,
    by: Annotated[
        str, typer.Option(help="What tells a change: mtime (and size), or content.")
    ] = "mtime",
    on_error: Annotated[
        str, typer.Option(help="Exit with 1 (fail) or 0 (skip) where images cannot be read.")
    ] = "fail",
    json: Json = False,
) -> None:
    """Turn images into vectors."""
    for kind, name, known in (
        ("feature", features, FEATURES),
        ("backend", backend, NAMES),
        ("dtype", dtype, DTYPES),
        ("--by", by, BY),
        ("--on-error", on_error, ON_ERROR),
    ):
        if name not in known:
            raise UnknownNameError(kind, name, known)
    if update and overwrite:
        raise UsageError("--update keeps what --overwrite throws away; give one of them")

    from cfamc_zoo.allocator import return_freed_memory
    from cfamc_zoo.embedding.columns import parse_columns
    from cfamc_zoo.embedding.executors import check_executor, embed_inputs
    from cfamc_zoo.embedding.inputs import STDIN, open_inputs
    from cfamc_zoo.embedding.kinds.listed import LINE, NULL
    from cfamc_zoo.embedding.outputs import Output, check_output, locate
    from cfamc_zoo.embedding.settings import Execution, Settings
    from cfamc_zoo.embedding.shards import parse_shard, share
    from cfamc_zoo.embedding.update import roots_of
    from cfamc_zoo.folders import describe

    return_freed_memory()
    existing = "update" if update else "replace" if overwrite else "refuse"
    to = Output(*locate(out), parse_columns(columns), existing, by, roots_of(inputs))
    check_output(to)
    check_executor(backend, to, workers)
    mine = parse_shard(shard) if shard is not None else None
    release = open_model(model)
    if null and STDIN not in inputs:
        raise UsageError("--null is of a list on standard input; give - as the input")
    found = open_inputs(inputs, separator=NULL if null else LINE)
    if at_first := found.left_out:
        output.note(describe(at_first))
    if mine:
        found = share(found, mine)
    started = time.perf_counter()
    try:
        with output.progress("embedding", found.total) as bar:
            outcome = embed_inputs(
                found,
                release,
                to,
                settings=Settings(features, backend, normalize, dtype),
                execution=Execution(device, threads, batch_size),
                workers=workers,
                advance=bar.advance,
            )
    except KeyboardInterrupt:
        output.note("interrupted; the same command goes on from its last finished part")
        raise
    seconds = time.perf_counter() - started
    _note(outcome, to)
    if later := found.left_out - at_first:
        output.note(describe(later))
    dimension = release.config.architecture.dimension(features)
    if json:
        output.json_result(
            {
                "output": out if outcome.written else None,
                "model": release.config.name,
                "sha256": release.digest,
                "feature": features,
                "dimension": dimension,
                "written": outcome.written,
                "kept": outcome.kept,
                "dropped": outcome.dropped,
                "resumed": outcome.resumed,
                "left_out": dict(found.left_out),
                "unreadable": [{"path": p, "reason": r} for p, r in outcome.unreadable],
                "seconds": round(seconds, 3),
            }
        )
    elif outcome.written:
        rate = f"{(outcome.total - outcome.resumed) / seconds:,.0f} images/s, "
        output.note(
            f"{outcome.written} images, {dimension} values each, {'' if update else rate}"
            f"{features} of {release.config.name}"
        )
        output.result(out)
    if outcome.unreadable:
        end = "" if outcome.written else "; nothing was written"
        output.note(f"{len(outcome.unreadable)} of {outcome.total} images could not be read{end}")
        if on_error == "fail" or not outcome.written:
            raise typer.Exit(1)


def _note(outcome: Outcome, to: Output) -> None:
    """What a person wants to know of a job that has ended."""
    if outcome.discarded:
        output.note("an unfinished job of other inputs or settings was discarded")
    if outcome.resumed:
        output.note(f"went on after {outcome.resumed} images of an unfinished job")
    if to.existing == "update" and outcome.written:
        output.note(
            f"{outcome.kept:,} kept, {outcome.written - outcome.kept:,} embedded, "
            f"{outcome.dropped:,} dropped"
        )
    for path, reason in outcome.unreadable:
        output.note(f"unreadable: {path}: {reason}")
