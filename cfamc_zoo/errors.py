"""Every exception this package raises on purpose.

A message says what was given, what is allowed and what to do. The command line
prints it as one line and exits with `exit_code`; anything else that escapes is
a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def first_line(error: BaseException) -> str:
    """What another's error says, in a line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class ZooError(Exception):
    """The work failed or was only partly done."""

    exit_code = 1


class UsageError(ZooError):
    """What was asked for cannot be done as asked: a wrong name, value or path."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not among the known ones; the message offers the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = get_close_matches(name, self.known, n=3, cutoff=0.5)
        if near:
            remedy = f"did you mean {' or '.join(near)}?"
        elif self.known:
            remedy = f"known: {', '.join(self.known)}"
        else:
            remedy = "none are known here"
        super().__init__(f"unknown {kind} {name!r}; {remedy}")


class OutputExistsError(UsageError):
    """A finished output is already there and would be replaced."""


class ReleaseError(ZooError):
    """A release folder whose files are missing, altered or not what its config says."""


class DataError(ZooError):
    """Images or labels that cannot be read or do not fit the model."""


class TrainingError(ZooError):
    """A run that cannot go on; the last good checkpoint is kept."""


class ModelError(ZooError):
    """A model that does not behave as a classifier: wrong width, NaN, an exception of its own."""


class StorageError(ZooError):
    """An output that cannot be written: no such folder, no permission, a full disk."""


class ClusterError(ZooError):
    """A cluster that cannot be reached, or gave up a run; what was finished is kept."""


class HubError(ZooError):
    """A Hub that cannot be reached, refuses, or answers otherwise than a Hub does."""
