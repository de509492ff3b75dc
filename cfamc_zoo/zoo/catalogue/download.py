"""Releases from the Hub, verified, and copies of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from cfamc_zoo.atomic import check_folder_of, storage_errors
from cfamc_zoo.errors import (
    HubError,
    OutputExistsError,
    ReleaseError,
    StorageError,
    UsageError,
    ZooError,
)
from cfamc_zoo.zoo.release.folder import (
    CARD,
    CONFIG,
    CONFIG_LIMIT,
    RESULTS,
    Release,
    open_release,
)

MIRROR = "CFAMC_ZOO_MIRROR"
Say = Callable[[str], None]


def fetch(
    repo: str,
    *,
    revision: str | None = None,
    config_sha256: str | None = None,
    say: Say | None = None,
) -> Release:
    """A repository's release, opened in the Hub's cache; what is there is not fetched again.

    config.json comes first: a repository that is none of ours is refused before its weights are
    fetched, and a file that is larger than it may be before it is. The other files come from the
    commit that config.json came from, whatever is pushed meanwhile. What is damaged in the cache
    is dropped and fetched again, once: here, or when it is read. Where $CFAMC_ZOO_MIRROR names a
    folder with ORGANIZATION/NAME/ in it, that is opened instead.

    Args:
        repo: "organization/name".
        revision: branch, tag or commit; None is the default branch.
        config_sha256: what config.json must hash to. With it the cache is asked first, so that
            what was pulled once needs no network. Without it the repository pins itself.
        say: takes a line for each file that was damaged and is whole again.

    Raises:
        UsageError: no such revision.
        ReleaseError: not a release, or not the pinned one; or damaged twice.
        HubError: no network, no such repository, no access.
        StorageError: the cache cannot be written.
    """
    mirrored = _mirrored(repo, revision)
    if mirrored is not None:
        remedy = f"copy it to ${MIRROR} again"
        return open_release(mirrored, config_sha256=config_sha256, remedy=remedy)
    if config_sha256 is not None:
        cached = _cached(repo, revision, config_sha256)
        if cached is not None:
            return _mending(cached, repo, say)
    held = _held(repo, revision)
    release = _mending(_fetch_config(repo, revision, config_sha256, say), repo, say)
    folder, files = release.folder, release.config.files
    for name in files:
        fresh = not (folder / name).exists()
        _file(repo, name, folder.name, files[name].size)
        if fresh:
            release.read(name)
    _fetch_card(repo, folder)
    return replace(release, moved_from=None if held in (None, folder.name) else held)


def _mending(release: Release, repo: str, say: Say | None) -> Release:
    """The release, whose files come anew from the Hub when they are damaged."""
    return replace(release, mend=partial(_mend, repo, release, say))


def fetch_summary(repo: str, *, revision: str | None = None) -> Release:
    """A repository's release of which only config.json and results.json are fetched.

    Raises:
        UsageError, ReleaseError, HubError, StorageError: as `fetch`.
    """
    release = _mending(_fetch_config(repo, revision, None, None), repo, None)
    if release.has(RESULTS):
        size = min(release.config.files[RESULTS].size, CONFIG_LIMIT)
        _file(repo, RESULTS, release.folder.name, size)
    return release


def _fetch_config(
    repo: str, revision: str | None, config_sha256: str | None, say: Say | None
) -> Release:
    held = _held(repo, revision)
    path = _file(repo, CONFIG, revision, CONFIG_LIMIT)
    folder, whole = path.parent, _is_as_announced(path)
    if whole is None:  # it cannot be told: what was here before may be damaged
        try:
            return open_release(folder, config_sha256=config_sha256)
        except ReleaseError:
            if held != folder.name:
                raise
    if whole:
        return open_release(folder, config_sha256=config_sha256)
    _fetch_anew(repo, CONFIG, folder, CONFIG_LIMIT)
    if _is_as_announced(path) is False:
        _drop(path)
        raise ReleaseError(f"{CONFIG} of {repo} changed while it was fetched; pull again")
    release = open_release(folder, config_sha256=config_sha256)
    if say:
        say(_mended(CONFIG, repo))
    return release


def _fetch_card(repo: str, folder: Path) -> None:
    """README.md, where the repository has one: prose, which is pinned by nothing."""
    _file(repo, CARD, folder.name, CONFIG_LIMIT)
    if (folder / CARD).exists() and _is_as_announced(folder / CARD) is False:
        _fetch_anew(repo, CARD, folder, CONFIG_LIMIT)


def _held(repo: str, revision: str | None) -> str | None:
    """The commit that the cache has of a revision, before it is asked for anew."""
    from huggingface_hub import try_to_load_from_cache

    from cfamc_zoo.zoo.catalogue.hub_errors import hub_errors

    with hub_errors(repo, revision=revision):
        found = try_to_load_from_cache(repo, CONFIG, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def _is_as_announced(path: Path) -> bool | None:
    """Whether a file in the cache is what the Hub announced before it sent it; None: who knows.

    The client compares sizes alone. It names a blob after the announced ETag, which is git's
    digest of the file, or the sha256 of a large one; some mirrors announce a plain sha1.
    """
    try:
        content = path.read_bytes()
    except OSError:  # a folder, a link to nothing
        return False
    if not path.is_symlink():  # a cache without links keeps no ETags
        return None
    announced = path.readlink().name
    blob = b"blob %d\0" % len(content) + content
    digests = {
        40: {hashlib.sha1(blob).hexdigest(), hashlib.sha1(content).hexdigest()},
        64: {hashlib.sha256(content).hexdigest()},
    }.get(len(announced))
    if digests is None or not all(c in "0123456789abcdef" for c in announced):
        return None
    return announced in digests


def _mend(repo: str, release: Release, say: Say | None, name: str) -> None:
    """Drops a damaged file and fetches it again.

    Raises:
        ReleaseError: it is as the Hub has it, and not as its config says; or damaged again.
        HubError: the Hub cannot be reached.
        StorageError: the cache cannot be written.
    """
    folder, record = release.folder, release.config.files[name]
    broken = f"{name} of {repo} is not the file that its config pins"
    etag = _etag(repo, name, folder)
    if _is_as_announced(folder / name) and (folder / name).readlink().name == etag:
        raise ReleaseError(f"{broken}, in the repository itself; ask its owner to push it again")
    _fetch_anew(repo, name, folder, record.size)
    try:
        replace(release, mend=None).read(name)
    except ReleaseError as error:
        _drop(folder / name)  # or the cache would offer it for ever
        raise ReleaseError(
            f"{broken}, though it was fetched twice: something on the way changes it; pull again, "
            "over another network or HF_ENDPOINT"
        ) from error
    if say:
        say(_mended(name, repo))


def _mended(name: str, repo: str) -> str:
    return f"{name} of {repo} was damaged; it was dropped and fetched again"


def _fetch_anew(repo: str, name: str, folder: Path, limit: int) -> None:
    """Drops a file of the cache and fetches it, if the Hub has it now."""
    _etag(repo, name, folder)
    _drop(folder / name)
    _file(repo, name, folder.name, limit, anew=True)


def _etag(repo: str, name: str, folder: Path) -> str | None:
    """What the Hub calls a file whose copy in the cache is damaged."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    from cfamc_zoo.zoo.catalogue.hub_errors import hub_errors

    try:
        with hub_errors(repo, revision=folder.name):
            return get_hf_file_metadata(hf_hub_url(repo, name, revision=folder.name)).etag
    except HubError as error:
        raise HubError(
            f"{str(folder / name)!r} is damaged, and the network is needed to fetch it again: "
            f"{error}"
        ) from error


def _drop(path: Path) -> None:
    """Takes a file out of a snapshot, and its blob where that is one of the same cache."""
    doomed = [path]
    if path.is_symlink():
        blob = Path(os.path.normpath(path.parent / path.readlink()))
        if blob.parent == path.parent.parent.parent / "blobs":  # no file of anybody else
            doomed.append(blob)
    try:
        for entry in doomed:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{str(path)!r} is damaged and cannot be replaced: {error.strerror}; make the Hub's "
            "cache writable, or set HF_HOME to a folder that is"
        ) from error


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


def _file(repo: str, name: str, revision: str | None, limit: int, *, anew: bool = False) -> Path:
    """One file in the cache, fetched if it is not there and has at most `limit` bytes.

    Anew also where parts of it, or the same file of another repository, are there.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    from cfamc_zoo.zoo.catalogue.hub_errors import hub_errors

    if not sys.stderr.isatty():
        disable_progress_bars()
    with hub_errors(repo, revision=revision):
        try:
            announced = hf_hub_download(
                repo, name, revision=revision, dry_run=True, force_download=anew
            )
            if announced.will_download and (announced.file_size or 0) > limit:
                raise ReleaseError(
                    f"{name} of {repo} has {announced.file_size} bytes, where a release has at "
                    f"most {limit}; it is not fetched: give a repository that `cfamc-zoo push` made"
                )
            return Path(hf_hub_download(repo, name, revision=revision, force_download=anew))
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
    check_folder_of(destination)
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
