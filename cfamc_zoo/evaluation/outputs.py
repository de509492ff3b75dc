"""What a measurement writes: adversarial images as .npy or Parquet, a page, its state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cfamc_zoo.atomic import atomic_file, check_folder_of
from cfamc_zoo.errors import OutputExistsError, UsageError

SUFFIXES = (".npy", ".parquet")


def check_path(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Refuses, before any work is done, what could not be written.

    Raises:
        UsageError: another suffix, or no such folder.
        OutputExistsError: the file is there already.
    """
    if path.suffix not in suffixes:
        raise UsageError(f"{str(path)!r} must end in {' or '.join(suffixes)}")
    check_folder_of(path)
    if path.exists():
        raise OutputExistsError(f"{str(path)!r} is already there; move it or give another name")


def save(
    path: Path,
    adversarial: np.ndarray,
    *,
    parts: dict[str, list[str]],
    rows: dict[str, np.ndarray],
    stands: list[list[bool | None]],
) -> None:
    """Writes the images.

    .npy holds (E, N, C, H, W) float32 in [0, 1] as it is given. Parquet has a row for each part
    and image: what the part is, index, what the image is, stands and image: the same values, a
    flat list of C H W float32.

    Args:
        adversarial: (E, N, C, H, W) float32; what felled an image, else the last that was tried.
        parts: columns of E values: the radius of each part.
        rows: columns of N values: the label of each image.
        stands: E lists of N verdicts; None where there is none.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_file(path) as temporary:
        if path.suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, np.asarray(adversarial, np.float32))
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        count, n = adversarial.shape[:2]
        flat = np.ascontiguousarray(adversarial, np.float32).reshape(count * n, -1)
        values = pa.array(flat.ravel())
        shape = "x".join(map(str, adversarial.shape[2:]))
        table = pa.table(
            {
                **{name: [v for v in column for _ in range(n)] for name, column in parts.items()},
                "index": np.tile(np.arange(n), count),
                **{name: np.tile(column, count) for name, column in rows.items()},
                "stands": pa.array([v for part in stands for v in part], pa.bool_()),
                "image": pa.FixedSizeListArray.from_arrays(values, flat.shape[1]),
            }
        ).replace_schema_metadata({"image_shape": shape})
        with temporary.open("wb") as file:  # pyarrow itself refuses names that are not UTF-8
            pq.write_table(table, file)


@dataclass(frozen=True)
class Outputs:
    """Files, each None where it is not wanted.

    Attributes:
        save: the adversarial images.
        report: a page with pictures.
        state: what the same command goes on from.
    """

    save: Path | None = None
    report: Path | None = None
    state: Path | None = None

    def check(self) -> None:
        """Refuses, before any work is done, what could not be written.

        Raises:
            UsageError: another suffix, or no such folder.
            OutputExistsError: the file is there already.
        """
        if self.save is not None:
            check_path(self.save)
        if self.report is not None:
            check_path(self.report, (".html",))
        if self.state is not None:
            check_folder_of(self.state)


NOWHERE = Outputs()
