"""Opens vectors that `embed` wrote, by what they lie in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cfamc_zoo.embedding.search.stored import REMEDY, StoredVectors, unreadable
from cfamc_zoo.embedding.search.stored_arrays import open_csv, open_jsonl, open_npy
from cfamc_zoo.embedding.search.stored_parquet import ParquetVectors, open_folder
from cfamc_zoo.errors import UnknownNameError, UsageError


def open_vectors(path: Path) -> StoredVectors:
    """Opens vectors.

    Args:
        path: .parquet with the columns `path` and `embedding` of float16, float32 or float64
            (others are passed over), or a folder of such files; .npy with or without .paths.txt
            beside it; .csv or .jsonl.

    Raises:
        UsageError: it does not exist, or has another suffix.
        DataError: it holds no vectors, other columns, or cannot be read.
    """
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise UsageError(f"{str(path)!r} does not exist; {REMEDY}")
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UnknownNameError("format of vectors", suffix or path.name, FORMATS)
    try:
        return FORMATS[suffix](path)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise unreadable(path, error) from error


FORMATS: dict[str, Callable[[Path], StoredVectors]] = {
    ".parquet": lambda path: ParquetVectors(path, [path]),
    ".npy": open_npy,
    ".csv": open_csv,
    ".jsonl": open_jsonl,
}
