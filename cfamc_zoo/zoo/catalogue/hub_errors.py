"""The Hub's client: its many ways to fail become one line with a remedy."""

from __future__ import annotations

import errno
import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cfamc_zoo.errors import HubError, ReleaseError, StorageError, UsageError, ZooError, first_line

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
BY_STATUS = {
    401: "not open to you, or your token is not valid; `hf auth login`, or renew HF_TOKEN",
    403: "your token does not allow it; use one with write access, or another owner",
    412: "someone else committed meanwhile; look at it, then try again",
    429: "too many requests; wait some minutes, then try again",
}

# What the client raises, by name, and what is said of it. Some derive from one below them.
SAID: tuple[tuple[str, type[ZooError], str], ...] = (
    (
        "LocalTokenNotFoundError",
        HubError,
        "no token; log in with `hf auth login`, or set HF_TOKEN",
    ),
    (
        "HFValidationError",
        UsageError,
        "{repo!r} cannot be a repository; give ORGANIZATION/NAME",
    ),
    (
        "GatedRepoError",
        HubError,
        "{repo} asks for access; request it on the Hub, then log in",
    ),
    (
        "RevisionNotFoundError",
        UsageError,
        "{repo} has no revision {revision!r}; leave it away, or name another",
    ),
    (
        "RepositoryNotFoundError",
        HubError,
        "{repo} is no folder here, and not on the Hub or not open to you; check the name, or log "
        "in with `hf auth login`",
    ),
    (
        "OfflineModeIsEnabled",
        HubError,
        "the Hub is not asked about {repo}: HF_HUB_OFFLINE is set; unset it",
    ),
    (
        "LocalEntryNotFoundError",
        HubError,
        "{repo} is no folder here, not in the cache, and the Hub cannot be reached; check the "
        "network, HF_ENDPOINT and HF_HUB_OFFLINE",
    ),
    (
        "EntryNotFoundError",
        ReleaseError,
        "{repo} has no such file; it is not a release of cfamc-zoo, or broken",
    ),
)


class _Quiet:
    """While any thread is inside, the client logs errors alone: else each retry prints a line.

    Nor does it warn of a disk that will be full: when it is, that is an error of ours. Verbosity
    and warnings are the process's; the first in notes them, the last out restores them.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.verbosity = 0
        self.warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        from huggingface_hub.utils import logging

        with self.lock:
            if self.inside == 0:
                self.verbosity = logging.get_verbosity()
                logging.set_verbosity_error()
                self.warnings = warnings.catch_warnings()
                self.warnings.__enter__()
                warnings.filterwarnings("ignore", "Not enough free disk space")
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        from huggingface_hub.utils import logging

        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                logging.set_verbosity(self.verbosity)
                self.warnings.__exit__(None, None, None)


QUIET = _Quiet()


@contextmanager
def hub_errors(repo: str, *, revision: str | None = None) -> Iterator[None]:
    """Turns what the client raises into errors that name `repo`, what happened and a remedy.

    Raises:
        UsageError: no such revision, or a name that cannot be a repository's.
        StorageError: the cache cannot be written.
        HubError: everything else that may happen between here and there.
    """
    try:
        with QUIET:
            yield
    except ZooError:
        raise
    except Exception as error:
        known = _translate(error, repo, revision)
        if known is None:
            raise
        raise known from error


def _translate(error: BaseException, repo: str, revision: str | None) -> ZooError | None:
    from huggingface_hub import errors

    # Its transport is httpx or httpx2, by version; its own error derives from the one it uses.
    transport_error = errors.HfHubHTTPError.__bases__[0]
    answered = error.__cause__
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(
        answered, errors.HfHubHTTPError | errors.FileMetadataError
    ):
        return _translate(answered, repo, revision)
    for name, ours, text in SAID:
        if isinstance(error, getattr(errors, name)):
            return ours(text.format(repo=repo, revision=revision))
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        said = (error.server_message or "").splitlines()[:1]
        remedy = BY_STATUS.get(status, "try again later")
        return HubError(f"the Hub answers {status} for {repo}: {' '.join([*said, remedy])}")
    if isinstance(error, errors.FileMetadataError | json.JSONDecodeError | KeyError):
        return HubError(f"what answers for {repo} does not speak as a Hub does; check HF_ENDPOINT")
    if isinstance(error, transport_error):
        return HubError(f"the connection for {repo} broke: {first_line(error)}; try again")
    if isinstance(error, OSError):  # HfHubHTTPError and others above are OSErrors too
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            return StorageError(
                f"something is in the way in the Hub's cache: {error.strerror}: "
                f"{error.filename or ''}; delete it, or set HF_HOME to another folder"
            )
        if error.errno in DISK:
            return StorageError(
                f"the Hub's cache cannot be written: {error.strerror}: {error.filename or ''}; "
                "free some space, or set HF_HOME to a folder that you can write to"
            )
        return HubError(f"{repo} could not be fetched: {first_line(error)}; try again")
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # an upload's thread
        return _translate(error.__cause__, repo, revision)
    if isinstance(error, ValueError | RuntimeError) or type(error).__name__.startswith("Xet"):
        return HubError(f"the Hub's client gives up on {repo}: {first_line(error)}; try again")
    return None
