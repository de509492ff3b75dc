"""Vectors that `embed` wrote, block by block: a large file is never in memory as a whole."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cfamc_zoo.errors import DataError, first_line

BLOCK = 1 << 20  # bytes of float32 vectors that are looked at together: what a core's cache holds
PATH, EMBEDDING = "path", "embedding"
REMEDY = "give a file that `cfamc-zoo embed` wrote"


@dataclass(frozen=True)
class Block:
    """Some consecutive rows.

    Attributes:
        first: number of the first one.
        vectors: (B, D) float32, finite.
        norms: (B,) float32, their L2 norms.
    """

    first: int
    vectors: np.ndarray
    norms: np.ndarray

    def unit(self) -> np.ndarray:
        """(B, D) float32 at unit L2 norm; a row of zeros stays."""
        return self.vectors / np.where(self.norms > 0, self.norms, 1)[:, None]


class StoredVectors(ABC):
    """N vectors of D values and what is known of them.

    Attributes:
        path: the file, or the folder of files.
        files: all that the vectors are read from.
        count: N, at least 1.
        dimension: D.
        metadata: what made them, as `embedding.job.describe` says it; {} where the format has no
            room for it.
    """

    path: Path
    files: tuple[Path, ...]
    count: int
    dimension: int
    metadata: dict[str, str]

    @abstractmethod
    def names(self, rows: Sequence[int]) -> list[str]:
        """What the column `path` says of rows; `row:N` where there is no such column."""

    @abstractmethod
    def find(self, name: str) -> int | None:
        """The first row of that path; None where there is none."""

    @abstractmethod
    def _pieces(self, start: int) -> Iterator[np.ndarray]:
        """All rows from `start` on, (P, D) of any float type, some blocks at a time."""

    @abstractmethod
    def _rows(self, rows: np.ndarray) -> np.ndarray:
        """(R, D) of any float type."""

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """All rows from `start` on.

        Raises:
            DataError: a row holds NaN or infinity, or the file cannot be read.
        """
        for piece in self._pieces(start):
            for at in range(0, len(piece), self.block):
                vectors = piece[at : at + self.block].astype(np.float32, copy=False)
                numbers = range(start, start + len(vectors))
                yield Block(start, vectors, self._norms(vectors, numbers))
                start += len(vectors)

    def rows(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(R, D) float32 at unit L2 norm, in the order that is asked for; rows of zeros stay.

        Raises:
            DataError: as `blocks`.
        """
        wanted = np.asarray(rows, np.int64)
        vectors = self._rows(wanted).astype(np.float32, copy=False)
        return Block(0, vectors, self._norms(vectors, wanted.tolist())).unit()

    def locate(self, name: str) -> Path:
        """The file of that path, as seen from here, else from where the vectors are.

        Raises:
            DataError: it is gone; the message is the reason alone.
        """
        for file in (Path(name), self.path.absolute().parent / name):
            if os.path.isfile(file):  # noqa: PTH113 (names that are too long, or no names)
                return file
        raise DataError("the file is gone")

    @property
    def block(self) -> int:
        """Rows of a block."""
        return max(1, BLOCK // (4 * self.dimension))

    def _norms(self, vectors: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            norms: np.ndarray = np.sqrt(np.vecdot(vectors, vectors))
        if not np.isfinite(norms).all():
            row = numbers[int(np.flatnonzero(~np.isfinite(norms))[0])]
            raise DataError(
                f"{str(self.path)!r}: row {row} holds NaN, infinity or values over 1e18; "
                "embed again"
            )
        return norms


def unreadable(path: Path, error: Exception) -> DataError:
    """What is said of a file that is none of ours, or is damaged."""
    return DataError(f"{str(path)!r} does not hold vectors: {first_line(error)}; {REMEDY}")


def empty(path: Path) -> DataError:
    return DataError(f"{str(path)!r} holds no vectors; {REMEDY}")
