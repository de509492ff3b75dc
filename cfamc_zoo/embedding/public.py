"""Embedding and searching from Python. Nothing heavy is imported before a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy as np

    from cfamc_zoo.embedding.search.queries import Answer
    from cfamc_zoo.embedding.settings import Options
    from cfamc_zoo.embedding.sources import Source


def embed(
    images: Source | Iterable[Source],
    *,
    model: str | None = None,
    features: str = "backbone",
    normalize: bool = False,
    backend: str = "onnx",
    device: str | None = None,
    batch_size: int = 32,
    threads: int | None = None,
) -> np.ndarray:
    """Vectors of images: (N, D) float32, one row an image, in their order, without torch.

    Args:
        images: one or many, of any size: paths, Pillow images, the content of files (bytes), open
            files, the {"bytes": ...} of the datasets library; or arrays and tensors, uint8 or
            floats in [0, 1]: (H, W, 3), (H, W), (N, H, W, 3) or (N, 3, H, W). Anything that can
            be gone through: lists, generators.
        model: as `load` takes it; None is the smallest bundled encoder, the quickest on any
            machine; the most robust one is the first of `list_models`.
        features: "backbone", "representation" or, with torch, "projection".
        normalize: rows at unit L2 norm.
        backend: "onnx" or "torch".
        device: "cpu" or "cuda"; None is the CPU for ONNX Runtime, the GPU if any for torch.
        batch_size: images in a batch; on a CPU each thread has one.
        threads: CPU threads; None is one a core.

    Raises:
        UnknownNameError: no such model, features or back end.
        ReleaseError: its files are not what its config pins.
        DataError: an image that cannot be read, or is none; says which, and what to give.
    """
    from cfamc_zoo.embedding.settings import Execution, Settings
    from cfamc_zoo.embedding.vectors import embed_images
    from cfamc_zoo.zoo.catalogue.registry import default_model
    from cfamc_zoo.zoo.catalogue.resolve import resolve

    return embed_images(
        images,
        resolve(model or default_model()),
        Settings(features, backend, normalize),
        Execution(device, threads, batch_size),
    )


def embed_stream(
    images: Source | Iterable[Source],
    *,
    model: str | None = None,
    on_unreadable: Callable[[str, str], object] | None = None,
    **options: Unpack[Options],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and vectors, batch by batch: any number of images in the memory of a few batches.

    Args:
        images: as `embed` takes them, a generator that never ends too, or what `open_inputs`
            gives. They are gone through as they are needed, in the caller's own thread.
        model: as `embed` takes it.
        on_unreadable: told an image's name and why it cannot be read; it has no row then. None
            raises that.
        **options: features, normalize, backend, device, batch_size and threads, as `embed` takes
            them; and dtype, "float32" or "float16".

    Returns:
        Of each batch the names of its rows (paths; else numbers, from "0" on) and their vectors,
        (N, D) of `dtype`, N at most `batch_size` and never 0.

    Raises:
        UnknownNameError, UsageError, ReleaseError: as `embed`, before the first batch.
        DataError: as `embed`, at its turn.
    """
    from cfamc_zoo.embedding.settings import read_options
    from cfamc_zoo.embedding.vectors import embed_stream
    from cfamc_zoo.zoo.catalogue.registry import default_model
    from cfamc_zoo.zoo.catalogue.resolve import resolve

    settings, execution = read_options(options)
    return embed_stream(
        images, resolve(model or default_model()), settings, execution, on_unreadable
    )


def search(
    queries: int | Source | Iterable[str | int | Source],
    vectors: str | Path,
    *,
    k: int = 10,
    model: str | None = None,
    features: str | None = None,
    threads: int | None = None,
) -> list[Answer]:
    """The nearest of stored vectors, by cosine similarity: one answer a query, in their order.

    Args:
        queries: one or many, each a row (17 or "row:17"), a path that stands in the file, or an
            image as `embed` takes it. A row and a path are no neighbours of themselves.
        vectors: what `cfamc-zoo embed` wrote: .parquet, a folder of it, .npy, .csv or .jsonl. Each
            vector is looked at, in blocks; the file is never in memory as a whole.
        k: neighbours of each.
        model: the release that made the vectors; None is what the file names.
        features: of a file that does not say; None is the backbone.
        threads: CPU threads of the model; None is one a core.

    Returns:
        Each with `query` and `neighbours`, the most similar first, and of these `row`,
        `similarity` in -1..1 and `path`.

    Raises:
        UsageError: no such file, row or path, another model than the file's, a k out of range.
        DataError: a file that is none of ours, vectors that are not finite, no image.
    """
    from pathlib import Path

    from cfamc_zoo.embedding.search.opening import open_vectors
    from cfamc_zoo.embedding.search.origin import origin_of
    from cfamc_zoo.embedding.search.queries import find_queries
    from cfamc_zoo.embedding.search.queries import search as search_vectors

    stored = open_vectors(Path(vectors))
    found = find_queries(
        queries,
        stored,
        lambda: origin_of(stored, model=model, feature=features),
        threads=threads,
    )
    return search_vectors(found, stored, k)
