"""Releases from the Hub, verified, and copies of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import OutputExistsError, ReleaseError, UsageError, ZooError
from cfamc_zoo.zoo.weights import (
    CARD,
    CONFIG,
    CONFIG_LIMIT,
    RESULTS,
    Release,
    open_release,
)

MIRROR = "CFAMC_ZOO_MIRROR"


def fetch(repo: str, *, revision: str | None = None, config_sha256: str | None = None) -> Release:
    """A repository's release, opened in the Hub's cache; what is there is not fetched again.

    config.json comes first: a repository that is none of ours is refused before its weights are
    fetched, and a file that is larger than it may be before it is. The other files come from the
    commit that config.json came from, whatever is pushed meanwhile. Where $CFAMC_ZOO_MIRROR names
    a folder with ORGANIZATION/NAME/ in it, that is opened instead.

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
    held = _held(repo, revision)
    release = _fetch_config(repo, revision, config_sha256)
    folder, files = release.folder, release.config.files
    for name in (*files, CARD):
        fresh = not (folder / name).exists()
        _file(repo, name, folder.name, files[name].size if name in files else CONFIG_LIMIT)
        if fresh and name in files:
            _keep_if_right(release, name)
    return replace(release, moved_from=None if held in (None, folder.name) else held)


def fetch_summary(repo: str, *, revision: str | None = None) -> Release:
    """A repository's release of which only config.json and results.json are fetched.

    Raises:
        UsageError, ReleaseError, HubError, StorageError: as `fetch`.
    """
    release = _fetch_config(repo, revision, None)
    if release.has(RESULTS):
        size = min(release.config.files[RESULTS].size, CONFIG_LIMIT)
        _file(repo, RESULTS, release.folder.name, size)
    return release


def _fetch_config(repo: str, revision: str | None, config_sha256: str | None) -> Release:
    path = _file(repo, CONFIG, revision, CONFIG_LIMIT)
    if _changed_on_the_way(path):
        _forget(path)
        raise ReleaseError(f"{CONFIG} of {repo} changed while it was fetched; pull again")
    return open_release(path.parent, config_sha256=config_sha256)


def _held(repo: str, revision: str | None) -> str | None:
    """The commit that the cache has of a revision, before it is asked for anew."""
    from huggingface_hub import try_to_load_from_cache

    from cfamc_zoo.zoo.hub import hub_errors

    with hub_errors(repo, revision=revision):
        found = try_to_load_from_cache(repo, CONFIG, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def _changed_on_the_way(path: Path) -> bool:
    """Whether a file in the cache is not what the Hub announced before it sent it.

    The client compares sizes alone. It names a blob after the announced ETag, which is git's
    digest of the file, or the sha256 of a large one; some mirrors announce a plain sha1.
    """
    if not path.is_symlink():  # a cache without links keeps no ETags
        return False
    content, announced = path.read_bytes(), path.readlink().name
    blob = b"blob %d\0" % len(content) + content
    digests = {
        40: {hashlib.sha1(blob).hexdigest(), hashlib.sha1(content).hexdigest()},
        64: {hashlib.sha256(content).hexdigest()},
    }
    is_digest = all(c in "0123456789abcdef" for c in announced)
    return is_digest and announced not in digests.get(len(announced), {announced})


def _keep_if_right(release: Release, name: str) -> None:
    """Takes a file that arrived wrong out of the cache, which would offer it for ever."""
    try:
        release.read(name)
    except ReleaseError:
        _forget(release.folder / name)
        raise


def _forget(path: Path) -> None:
    with storage_errors(path):
        Path(os.path.realpath(path)).unlink()
        path.unlink(missing_ok=True)


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


def _file(repo: str, name: str, revision: str | None, limit: int) -> Path:
    """One file in the cache, fetched if it is not there and has at most `limit` bytes."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    from cfamc_zoo.zoo.hub import hub_errors

    if not sys.stderr.isatty():
        disable_progress_bars()
    with hub_errors(repo, revision=revision):
        try:
            announced = hf_hub_download(repo, name, revision=revision, dry_run=True)
            if announced.will_download and (announced.file_size or 0) > limit:
                raise ReleaseError(
                    f"{name} of {repo} has {announced.file_size} bytes, where a release has at "
                    f"most {limit}; it is not fetched: give a repository that `cfamc-zoo push` made"
                )
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
