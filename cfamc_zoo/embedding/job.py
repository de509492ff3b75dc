"""Embedding many files into one: resumable, and whole when it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cfamc_zoo.embedding.backends import open_backend
from cfamc_zoo.embedding.partial import PART, Partial
from cfamc_zoo.embedding.pipeline import Unreadable, embed_files, normalize
from cfamc_zoo.embedding.writers import check_suffix, write
from cfamc_zoo.errors import OutputExistsError, UsageError
from cfamc_zoo.version import __version__
from cfamc_zoo.zoo.images.preprocess import PREPROCESSING
from cfamc_zoo.zoo.release.folder import Release


@dataclass(frozen=True)
class Settings:
    """What vectors depend on, beside model and images."""

    features: str = "backbone"
    backend: str = "onnx"
    normalize: bool = False  # rows at unit L2 norm


@dataclass(frozen=True)
class Outcome:
    """What a job ends with."""

    written: int
    resumed: int  # inputs that an earlier, unfinished job had covered
    discarded: bool  # parts of another job were in the way
    unreadable: list[tuple[str, str]]  # path and reason


def check_output(output: Path, *, existing: str = "refuse") -> None:
    """Refuses an output that cannot be, before any work is done.

    Args:
        existing: "refuse" or "replace" a finished output.

    Raises:
        UsageError: its folder does not exist, it is one itself, or its suffix is unknown.
        OutputExistsError: it is there already.
    """
    check_suffix(output)
    if not output.parent.is_dir():
        raise UsageError(f"folder {str(output.parent)!r} does not exist; create it first")
    if output.is_dir():
        raise UsageError(f"output {str(output)!r} is a folder; give a file")
    if output.exists() and existing == "refuse":
        raise OutputExistsError(f"{str(output)!r} is already there; give --overwrite or another -o")


def embed_to_file(
    paths: Sequence[Path],
    release: Release,
    output: Path,
    *,
    settings: Settings,
    device: str | None = None,
    threads: int | None = None,
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda n: None,
) -> Outcome:
    """Embeds files into `output`, going on where an unfinished job of the same kind left off.

    Where not one of them can be read, nothing is written, and what is there stays.

    Args:
        paths: image files.
        release: the model.
        output: .parquet, .npy, .csv or .jsonl; replaced if it is there.
        settings: of the vectors.
        device: as `open_backend` takes it.
        threads: as `open_backend` takes it.
        batch_size: images at a time.
        advance: told how many more inputs are done.

    Raises:
        UsageError, ReleaseError: as `open_backend`.
        StorageError: it cannot be written; finished parts are kept for the next try.
    """
    preprocess = release.config.preprocess
    dimension = release.config.architecture.dimension(settings.features)
    metadata = describe(release, settings)
    backend = open_backend(
        release,
        feature=settings.features,
        backend=settings.backend,
        device=device,
        threads=threads,
    )
    partial = Partial(output, paths, {**metadata, "output": output.suffix}, dimension)
    resumed = partial.done
    advance(resumed)
    while partial.done < len(paths):
        chunk = paths[partial.done : partial.done + PART]
        names: list[Path] = []
        vectors = [np.empty((0, dimension), np.float32)]
        unreadable: list[Unreadable] = []
        for batch in embed_files(chunk, backend, preprocess, batch_size=batch_size):
            names += batch.paths
            unreadable += batch.unreadable
            if len(batch.paths):
                scaled = normalize(batch.vectors) if settings.normalize else batch.vectors
                vectors.append(scaled)
            advance(len(batch.paths) + len(batch.unreadable))
        partial.add(names, np.concatenate(vectors), unreadable)
    bad = partial.unreadable()
    if len(bad) < len(paths):
        write(output, partial.tables(), partial.schema, metadata)
    partial.remove()
    return Outcome(len(paths) - len(bad), resumed, partial.discarded, bad)


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
