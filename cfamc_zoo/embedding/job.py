"""Embedding many images into one output: resumable, and whole when it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial as bind

import pyarrow as pa

from cfamc_zoo.embedding.columns import COLUMNS
from cfamc_zoo.embedding.concurrency import decoder_threads, share
from cfamc_zoo.embedding.items import Item
from cfamc_zoo.embedding.lock import only_one
from cfamc_zoo.embedding.opening import open_for
from cfamc_zoo.embedding.outputs import Output, settle
from cfamc_zoo.embedding.partial import Part, Partial, digest
from cfamc_zoo.embedding.pipeline import embed_files
from cfamc_zoo.embedding.rows import Embed, Piece, Rows, Stamp, mark
from cfamc_zoo.embedding.scaling import scale
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.embedding.update import open_known, stamp, with_columns
from cfamc_zoo.embedding.writers import FORMATS
from cfamc_zoo.version import __version__
from cfamc_zoo.zoo.images.preprocess import PREPROCESSING
from cfamc_zoo.zoo.release.folder import Release


@dataclass(frozen=True)
class Outcome:
    """What a job ends with.

    Attributes:
        total: inputs.
        written: rows of the output; 0 where there is none, since nothing could be read.
        kept: rows that the older output had.
        dropped: rows of the older output whose inputs are gone or can no longer be read.
        resumed: inputs that an earlier, unfinished job had covered.
        discarded: whether parts of another job were in the way.
        unreadable: name and reason.
    """

    total: int
    written: int
    kept: int
    dropped: int
    resumed: int
    discarded: bool
    unreadable: list[tuple[str, str]]


def embed_to_file(
    items: Iterable[Item],
    release: Release,
    output: Output,
    *,
    settings: Settings,
    execution: Execution,
    advance: Callable[[int], None] = lambda n: None,
) -> Outcome:
    """Embeds images into `output`, going on where an unfinished job of the same kind left off.

    Where not one of them can be read, nothing is written, and what is there stays.

    Args:
        items: images, gone through once; memory does not grow with their number.
        release: the model.
        output: where to; what is there stays whole until the new one takes its place.
        settings: of the vectors.
        execution: what vectors do not depend on.
        advance: told how many more inputs are done.

    Raises:
        UsageError, ReleaseError: as `open_backend`; another run is at it; an output that is to be
            updated is of another model or settings, or lacks what tells its images apart.
        DataError: an output that is to be updated is damaged.
        StorageError: it cannot be written; finished parts are kept for the next try.
    """
    embed = open_embed(release, settings, execution)
    with only_one(output.path):
        settle(output)
        output = with_columns(output)
        schema = make_schema(output, release, settings)
        known = open_known(output, schema)
        stamp_now = bind(stamp, by=output.by if output.existing == "update" else "mtime")
        parts = open_parts(output, schema, stamp_now)
        rest = parts.resume(iter(items))
        resumed = parts.total("items")
        advance(resumed)
        scaled = bind(scale, unit=settings.normalize, dtype=settings.dtype)
        rows = Rows(schema, known, stamp_now, scaled)
        keep(parts, rows.pieces(rest, embed), known.rows if known else 0, advance)
        outcome = sum_up(parts, resumed)
        if outcome.written:
            FORMATS[output.format].finish(output.path, parts)
        parts.remove()
    return outcome


def describe(release: Release, settings: Settings) -> dict[str, str]:
    """What made the vectors, for the file's metadata; every value is text."""
    return {
        "model": release.config.name,
        "sha256": release.digest,
        "feature": settings.features,
        "backend": settings.backend,
        "scaling": "unit" if settings.normalize else "none",
        "preprocessing": json.dumps(
            {**release.config.preprocess.to_json(), "version": PREPROCESSING}
        ),
        "cfamc-zoo": __version__,
    }


def make_schema(output: Output, release: Release, settings: Settings) -> pa.Schema:
    """Columns `path` and `embedding`, then those that are asked for; what made them as metadata.

    Raises:
        UnknownNameError: no such type of vectors.
    """
    dimension = release.config.architecture.dimension(settings.features)
    return pa.schema(
        [
            ("path", pa.string()),
            ("embedding", pa.list_(pa.type_for_alias(settings.dtype), dimension)),
            *((name, COLUMNS[name].kind) for name in output.columns),
        ],
        {**describe(release, settings), "roots": json.dumps(output.roots)},
    )


def open_embed(release: Release, settings: Settings, execution: Execution) -> Embed:
    """Items to batches of vectors, by a model that is opened here.

    Raises:
        UsageError, ReleaseError: as `open_backend`.
    """
    return bind(
        embed_files,
        backend=open_for(release, settings, execution),
        preprocess=release.config.preprocess,
        batch_size=execution.batch_size,
        decoders=decoder_threads(execution.threads),
        in_flight=share(release, settings, execution).in_flight,
    )


def open_parts(output: Output, schema: pa.Schema, stamp: Stamp) -> Partial:
    """The parts of a job, whoever makes their rows."""
    made_by = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    return Partial(
        output.path,
        schema,
        # Folders that were given in another way give inputs of other names, which parts note.
        {**made_by, "roots": "", "columns": str(schema.remove_metadata())},
        bind(mark, stamp=stamp),
        FORMATS[output.format].store,
    )


def keep(
    parts: Partial, pieces: Iterator[Piece], older: int, advance: Callable[[int], None]
) -> None:
    """Puts rows together to parts of the size that fits their format.

    Args:
        older: rows of the older output.
    """
    size = parts.size
    held: list[Piece] = []
    for piece in pieces:
        held.append(piece)
        if sum(len(piece.marks) for piece in held) >= size:
            parts.add(*gather(held, parts.schema, older))
            held = []
        advance(len(piece.marks))
    if held:
        parts.add(*gather(held, parts.schema, older))


def gather(held: list[Piece], schema: pa.Schema, older: int = 0) -> tuple[pa.Table, Part]:
    """Rows that were made one after the other as a part, and what it covers."""
    marks = [mark for piece in held for mark in piece.marks]
    table = pa.concat_tables([pa.Table.from_batches([], schema), *(piece.table for piece in held)])
    part = Part(
        items=len(marks),
        digest=digest(marks),
        rows=len(table),
        kept=sum(piece.kept for piece in held),
        replaced=sum(piece.replaced for piece in held),
        older=older,
        unreadable=[bad for piece in held for bad in piece.unreadable],
    )
    return table, part


def sum_up(parts: Partial, resumed: int) -> Outcome:
    """What a job whose parts are all there ends with."""
    kept = parts.total("kept")
    # Of the first part: a run that is killed at its end may find its own output as the older one.
    older = parts.done[0].older if parts.done else 0
    return Outcome(
        total=parts.total("items"),
        written=parts.total("rows"),
        kept=kept,
        # An image that was given twice was kept twice.
        dropped=max(older - kept - parts.total("replaced"), 0),
        resumed=resumed,
        discarded=parts.discarded,
        unreadable=parts.unreadable(),
    )
