"""Places to write to: refused before any work is done, or filled whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cfamc_zoo.errors import StorageError, UsageError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # as a path, which has one slash of the two


def check_local(path: Path) -> None:
    """Refuses an address as a place to write to.

    Raises:
        UsageError: it is one.
    """
    text = path.as_posix()
    if ADDRESS.match(text):
        raise UsageError(
            f"{text.replace('/', '//', 1)!r} is an address, and results go to files of this "
            "machine; give a path, and copy it from there"
        )


def check_folder_of(path: Path) -> None:
    """Refuses, before any work is done, a place whose folder is not there.

    Raises:
        UsageError: it is not; or the place is an address.
    """
    check_local(path)
    if not path.absolute().parent.is_dir():
        raise UsageError(f"folder {str(path.parent)!r} does not exist; create it first")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals into one line that names `path` and a remedy."""
    try:
        yield
    except OSError as error:
        # NumPy's own error on a short write has no number.
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None):
            remedy = "free some space or choose another disk"
        elif isinstance(error, FileNotFoundError | NotADirectoryError):
            remedy = "create the folder first or choose another path"
        else:
            remedy = "choose a path that you can write to"
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write {str(path)!r}: {reason}; {remedy}") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renamed onto it when the block ends well.

    Raises:
        StorageError: the folder is missing, the disk is full, and the like. `path` is then as
            it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with storage_errors(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # what is wrong with the path has been said
            temporary.unlink()
