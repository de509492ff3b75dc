"""Queries whose images are changed before the search, as by an attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cfamc_zoo.embedding.search.origin import Origin
from cfamc_zoo.embedding.search.queries import Query, embedded
from cfamc_zoo.embedding.search.stored import StoredVectors
from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images.preprocess import read_image, to_input


def images_of(queries: Sequence[Query], vectors: StoredVectors, origin: Origin) -> np.ndarray:
    """The images of queries as the model sees them: (Q, 3, S, S) float32 in [0, 1].

    Raises:
        DataError: the image of a query is gone, or cannot be read.
    """
    images = []
    for query in queries:
        try:
            file = Path(query.path) if query.row is None else vectors.locate(query.path)
            images.append(read_image(file, origin.release.config.preprocess))
        except DataError as error:
            raise DataError(
                f"query {query.name!r} cannot be attacked: image {query.path!r}: {error}"
            ) from error
    return to_input(np.stack(images))


def changed(
    queries: Sequence[Query], images: np.ndarray, origin: Origin, *, threads: int | None = None
) -> list[Query]:
    """The same queries with the vectors of other images.

    Args:
        images: (Q, 3, S, S) float32 in [0, 1], S the model's input size.
        threads: CPU threads; None is one a core.
    """
    vectors = embedded(list(images.transpose(0, 2, 3, 1)), origin, threads)
    return [replace(q, vector=vector) for q, vector in zip(queries, vectors, strict=True)]
