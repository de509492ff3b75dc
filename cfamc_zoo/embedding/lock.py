"""One run at a time into one output."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import UsageError


@contextmanager
def only_one(output: Path) -> Iterator[None]:
    """Holds an output for this process; the hold ends with the process, however it ends.

    What a killed process half-wrote beside the output is removed: nobody else is writing it.

    Raises:
        UsageError: another run holds it.
        StorageError: its folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    path = output.with_name(f".{output.name}.lock")
    lock = FileLock(path, blocking=False)
    held = False
    with storage_errors(output):
        # Another run may have removed the file, which it held, between our opening and locking it.
        while not held:
            try:
                lock.acquire()
            except Timeout as error:
                raise UsageError(
                    f"another run is writing {str(output)!r}; wait for it or give another -o"
                ) from error
            held = path.exists()
            if not held:
                lock.release()
    try:
        for half in output.parent.glob(f".{glob.escape(output.name)}.*tmp"):
            half.unlink()
        yield
    finally:
        if os.name != "nt":  # there an open file stays, and who waits would see it go
            path.unlink(missing_ok=True)
        lock.release()
        if os.name == "nt":
            with suppress(OSError):
                path.unlink()
