"""Releases from the Hub, verified, and copies of them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import OutputExistsError, ReleaseError, UsageError, ZooError
from cfamc_zoo.zoo.weights import CARD, CONFIG, Release, open_release

MIRROR = "CFAMC_ZOO_MIRROR"


def fetch(repo: str, *, revision: str | None = None, config_sha256: str | None = None) -> Release:
    """A repository's release, opened in the Hub's cache; what is there is not fetched again.

    config.json comes first: a repository that is none of ours is refused before its weights are
    fetched. The other files come from the commit that config.json came from, whatever is pushed
    meanwhile. Where $CFAMC_ZOO_MIRROR names a folder with ORGANIZATION/NAME/ in it, that is
    opened instead.

    Args:
        repo: "organization/name".
        revision: branch, tag or commit; None is the default branch.
        config_sha256: what config.json must hash to. With it the cache is asked first, so that
            what was pulled once needs no network. Without it the repository pins itself.

    Raises:
        UsageError: no such revision.
        ReleaseError: not a release, or not the pinned one.
        HubError: no network, no such repository, no access.
        StorageError: the cache cannot be written.
    """
    mirrored = _mirrored(repo, revision)
    if mirrored is not None:
        return open_release(mirrored, config_sha256=config_sha256)
    if config_sha256 is not None:
        cached = _cached(repo, revision, config_sha256)
        if cached is not None:
            return cached
    folder = _file(repo, CONFIG, revision).parent
    release = open_release(folder, config_sha256=config_sha256)
    for name in (*release.config.files, CARD):
        fresh = not (folder / name).exists()
        _file(repo, name, folder.name)
        if fresh and release.has(name):
            _keep_if_right(release, name)
    return release


def _keep_if_right(release: Release, name: str) -> None:
    """Takes a file that arrived wrong out of the cache, which would offer it for ever."""
    try:
        release.read(name)
    except ReleaseError:
        path = release.folder / name
        with storage_errors(path):
            Path(os.path.realpath(path)).unlink()
            path.unlink(missing_ok=True)
        raise


def _mirrored(repo: str, revision: str | None) -> Path | None:
    root = os.environ.get(MIRROR)
    if not root:
        return None
    if not Path(root).is_dir():
        raise UsageError(f"{MIRROR} is {root!r}, which is not a folder; correct or unset it")
    folder = Path(root) / repo
    if not folder.is_dir():
        return None
    if revision not in (None, "main"):
        raise UsageError(f"the mirror of {repo} holds one revision; leave {revision!r} away")
    return folder


def _cached(repo: str, revision: str | None, config_sha256: str) -> Release | None:
    """The pinned release if the cache has all of it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, CONFIG, revision=revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        release = open_release(folder, config_sha256=config_sha256)
    except ReleaseError:  # an older one, before the pin was moved
        return None
    whole = all((folder / name).exists() for name in release.config.files)
    return release if whole else None


def _file(repo: str, name: str, revision: str | None) -> Path:
    """One file in the cache, fetched if it is not there."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    from cfamc_zoo.zoo.hub import hub_errors

    if not sys.stderr.isatty():
        disable_progress_bars()
    with hub_errors(repo, revision=revision):
        try:
            return Path(hf_hub_download(repo, name, revision=revision))
        except EntryNotFoundError as error:
            if name == CARD:  # prose: a release is whole without it
                return Path()
            if isinstance(error, LocalEntryNotFoundError):
                raise
            raise ReleaseError(
                f"{repo} has no {name}, so it is not a release of cfamc-zoo; give a repository "
                "that `cfamc-zoo push` made"
            ) from error


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
