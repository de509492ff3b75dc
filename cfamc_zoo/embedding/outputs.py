"""Where vectors go: a path, its format, and what to do with what is there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cfamc_zoo.atomic import check_folder_of
from cfamc_zoo.embedding.partial import PARQUET
from cfamc_zoo.embedding.writers import FOLDER, FORMATS
from cfamc_zoo.errors import OutputExistsError, UnknownNameError, UsageError

EXISTING = ("refuse", "replace", "update")
BY = {"mtime": ("size", "mtime"), "content": ("sha256",)}  # what an update compares


@dataclass(frozen=True)
class Output:
    """An output as it was asked for.

    Attributes:
        path: of the file or folder.
        format: one of `FORMATS`.
        columns: of `COLUMNS`, beside path and vector.
        existing: what to do with a finished one, of `EXISTING`.
        by: what tells an update that an image has not changed, of `BY`.
        roots: folders that the inputs were given as; an update finds the images of one that has
            moved again.
    """

    path: Path
    format: str
    columns: tuple[str, ...] = ()
    existing: str = "refuse"
    by: str = "mtime"
    roots: tuple[str, ...] = ()


def locate(text: str) -> tuple[Path, str]:
    """Path and format of what was given as -o.

    Raises:
        UnknownNameError: it has a suffix that is none of `FORMATS`.
    """
    path = Path(text)
    if text.endswith(("/", os.sep)) or is_ours(path):
        return path, FOLDER
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UnknownNameError("output format", suffix or path.name, FORMATS)
    return path, suffix


def check_output(output: Output) -> None:
    """Refuses an output that cannot be, before any work is done.

    Raises:
        UsageError: its folder does not exist, it has no name, something else is in its place, or
            its format does not hold what is asked for.
        OutputExistsError: it is there already.
    """
    path, known = output.path, FORMATS[output.format]
    check_folder_of(path)
    if not path.name:  # it is put in its place by that name
        raise UsageError(f"output {str(path)!r} has no name of its own; give one, as -o vectors/")
    if output.columns and not known.columns:
        raise UsageError(
            f"output {str(path)!r} has no room for columns ({', '.join(output.columns)}); choose "
            f"{_such('columns')}"
        )
    if output.existing == "update" and not known.described:
        raise UsageError(
            f"--update needs an output that says what made it, which {output.format} does not; "
            f"choose {_such('described')}"
        )
    if output.format == FOLDER:
        if path.exists() and not path.is_dir():
            raise UsageError(f"output {str(path)!r} is a file; give another -o, or no slash")
        if path.is_dir() and not is_ours(path) and any(path.iterdir()):
            raise UsageError(
                f"folder {str(path)!r} holds what this command did not write; give a new one"
            )
    elif path.is_dir():
        raise UsageError(
            f"output {str(path)!r} is a folder; give a file, or end it with / for Parquet files "
            "in a folder"
        )
    if is_there(output) and output.existing == "refuse":
        raise OutputExistsError(
            f"{str(path)!r} is already there; give --update, --overwrite or another -o"
            if known.described
            else f"{str(path)!r} is already there; give --overwrite or another -o"
        )


def is_there(output: Output) -> bool:
    """Whether there is a finished output; an empty folder is none."""
    if output.format == FOLDER:
        return is_ours(output.path)
    return output.path.exists()


def settle(output: Output) -> None:
    """Once no other run can be at it: ends what a kill left halfway, then checks again.

    Raises:
        UsageError, OutputExistsError: as `check_output`.
        StorageError: what was set aside can be neither put back nor removed.
    """
    FORMATS[output.format].recover(output.path)
    check_output(output)


def files_of(output: Output) -> list[Path]:
    """The Parquet files of a finished output, in order."""
    return _parts(output.path) if output.format == FOLDER else [output.path]


def is_ours(path: Path) -> bool:
    """Whether a folder is an output of ours: files of one job and nothing else."""
    try:
        found = _parts(path)
        named = {path / PARQUET.name.format(i) for i in range(len(found))}
        schema = pq.read_schema(found[0]) if found else pa.schema([])
        return {*path.iterdir()} == named != set() and b"job" in (schema.metadata or {})
    except (OSError, pa.ArrowException):
        return False


def roots_in(metadata: dict[bytes, bytes]) -> tuple[str, ...]:
    """The folders that an output's inputs were given as."""
    said: Any = json.loads(metadata.get(b"roots", b"[]"))
    return tuple(map(str, said))


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _such(what: str) -> str:
    return ", ".join(
        "a folder (ending with /)" if name == FOLDER else name
        for name, known in FORMATS.items()
        if getattr(known, what)
    )
