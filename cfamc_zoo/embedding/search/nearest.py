"""The nearest of all stored vectors by cosine similarity: exact, in blocks."""

from __future__ import annotations

import numpy as np

from cfamc_zoo.embedding.search.stored import StoredVectors

TINY = np.float32(1e-30)  # in place of the norm of zeros, whose products are 0


def nearest(vectors: StoredVectors, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows that are most similar to each query.

    Args:
        vectors: N of D values.
        queries: (Q, D) float32 at unit L2 norm.
        k: at most N.

    Returns:
        Rows (Q, k) int64 and cosine similarities (Q, k) float32 in -1..1, the highest first; of
        equal ones, the lower row.

    Raises:
        DataError: as `StoredVectors.blocks`.
    """
    rows = [np.empty(0, np.int64) for _ in queries]
    best = [np.empty(0, np.float32) for _ in queries]
    for block in vectors.blocks():
        similar = (queries @ block.vectors.T) / np.maximum(block.norms, TINY)
        for i, values in enumerate(similar):
            full = len(best[i]) == k
            better = np.flatnonzero(values > best[i][-1]) if full else np.arange(len(values))
            if len(better):
                rows[i] = np.concatenate([rows[i], block.first + better])
                best[i] = np.concatenate([best[i], values[better].clip(-1, 1)])
                rows[i], best[i] = ordered(rows[i], best[i], k)
    return np.stack(rows), np.stack(best)


def ordered(rows: np.ndarray, similar: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar of rows, the highest first; of equal ones, the lower row."""
    order = np.lexsort((rows, -similar))[:k]
    return rows[order], similar[order]
