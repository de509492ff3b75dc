"""Releases from the Hub, pinned and verified, and copies of them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import OutputExistsError, ReleaseError, UsageError, ZooError
from cfamc_zoo.zoo.registry import ModelSpec, bundled_folder
from cfamc_zoo.zoo.weights import CARD, CONFIG, PINNED, Release, open_release


def pull_release(spec: ModelSpec, *, revision: str | None = None) -> Release:
    """A known model's release with every file verified.

    Args:
        spec: the model.
        revision: of its repository; another than the pinned one pins itself by its config.

    Raises:
        UsageError: a revision of a bundled model.
        ReleaseError: files that are not what the config pins.
        ZooError: the Hub cannot be reached or refuses.
    """
    if spec.bundled:
        if revision not in (None, spec.revision):
            raise UsageError(
                f"model {spec.name!r} is part of the package, which holds one revision of it; "
                "leave --revision away"
            )
        release = open_release(bundled_folder(spec.name), config_sha256=spec.config_sha256)
    else:
        pinned = revision in (None, spec.revision)
        folder = download(spec, revision=revision)
        release = open_release(folder, config_sha256=spec.config_sha256 if pinned else None)
    release.verify()
    return release


def download(spec: ModelSpec, *, revision: str | None = None) -> Path:
    """The Hub cache's folder of a model, fetched if it is not there.

    Raises:
        ZooError: no network, no such repository or revision, no access.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # Its transport is httpx or httpx2, by version; it hands on the one that it uses.
    from huggingface_hub.utils import httpx, logging  # type: ignore[attr-defined]

    wanted = revision or spec.revision
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # each retry would print a traceback
    try:
        folder = snapshot_download(
            spec.repo, revision=wanted, allow_patterns=[CONFIG, CARD, *PINNED]
        )
    except GatedRepoError as error:
        raise ZooError(
            f"{spec.repo} asks for access; request it on the Hub, then log in"
        ) from error
    except RevisionNotFoundError as error:
        raise UsageError(
            f"{spec.repo} has no revision {wanted!r}; leave --revision away"
        ) from error
    except RepositoryNotFoundError as error:
        raise ZooError(f"{spec.repo} is not on the Hub or not open to you; log in") from error
    except LocalEntryNotFoundError as error:
        raise ZooError(
            f"{spec.repo} is not in the cache and the Hub cannot be reached; check the network, "
            "HF_ENDPOINT and HF_HUB_OFFLINE"
        ) from error
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
        raise ZooError(f"the Hub refused {spec.repo}: {reason}; try again later") from error
    except (OSError, httpx.HTTPError) as error:  # a broken connection, a short or full disk
        reason = str(error).splitlines()[0]
        raise ZooError(f"{spec.repo} could not be fetched: {reason}; pull again") from error
    finally:
        logging.set_verbosity(verbosity)
    return Path(folder)


def copy_release(release: Release, destination: Path) -> Release:
    """Copies a release's files to a new folder, which appears whole.

    Raises:
        UsageError: the parent folder does not exist.
        OutputExistsError: there is something else at `destination`.
        StorageError: it cannot be written.
    """
    if not destination.parent.is_dir():
        raise UsageError(f"folder {str(destination.parent)!r} does not exist; create it first")
    if destination.exists():
        try:
            there = open_release(destination, config_sha256=release.config_sha256)
            there.verify()
        except ZooError as error:
            raise OutputExistsError(
                f"{str(destination)!r} is already there and is another thing; give another --dest"
            ) from error
        return there
    with storage_errors(destination):
        temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        with storage_errors(destination):
            for name in release.config.files:
                (temporary / name).write_bytes(release.read(name))
            for name in (CONFIG, CARD):
                if (release.folder / name).exists():
                    (temporary / name).write_bytes((release.folder / name).read_bytes())
            temporary.chmod(0o755)
            temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    copied = open_release(destination)
    if copied.config_sha256 != release.config_sha256:
        raise ReleaseError(f"{str(destination)!r} changed while it was copied; pull again")
    return copied
