"""Vectors as a caller wants them: their length and their type."""

from __future__ import annotations

import numpy as np

from cfamc_zoo.embedding.pipeline import normalize
from cfamc_zoo.errors import UnknownNameError, UsageError

DTYPES = ("float32", "float16")


def check_dtype(dtype: str) -> None:
    """Refuses a type that vectors cannot have.

    Raises:
        UnknownNameError: not one of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES)


def scale(vectors: np.ndarray, *, unit: bool, dtype: str) -> np.ndarray:
    """Vectors of the model as they are wanted.

    Args:
        vectors: (N, D) float32.
        unit: rows at unit L2 norm; a row of zeros stays.
        dtype: one of `DTYPES`.

    Returns:
        (N, D) of `dtype`.

    Raises:
        UsageError: a value that float16 cannot hold.
    """
    scaled = normalize(vectors) if unit else vectors
    limit = np.finfo(dtype).max
    largest = np.abs(scaled).max(initial=0)
    if largest > limit and dtype != "float32":
        raise UsageError(
            f"a value of a vector is {largest:g}, and {dtype} ends at {limit:,.0f}; normalize "
            "the vectors or take float32"
        )
    return scaled.astype(dtype, copy=False)
