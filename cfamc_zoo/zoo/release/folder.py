"""Release folders: every byte is checked before it is read, and nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.errors import ReleaseError, UsageError
from cfamc_zoo.zoo.release.config import FileRecord, ReleaseConfig
from cfamc_zoo.zoo.release.plain_json import parse_json

CONFIG = "config.json"
MODEL = "model.safetensors"
PROJECTOR = "projector.safetensors"
GRAPH = "model.onnx"
PROBE = "probe.safetensors"
RESULTS = "results.json"
GOLDEN = "golden.json"
CARD = "README.md"
# The card is prose that points at the other files; everything else is pinned.
PINNED = (MODEL, PROJECTOR, GRAPH, PROBE, RESULTS, GOLDEN)
# Bytes of those that a parser builds objects from; ours are a hundred times smaller.
LIMITS = {GRAPH: 4 << 20, RESULTS: 1 << 20, GOLDEN: 1 << 20}
PULL = "delete it and pull again"
CONFIG_LIMIT = 1 << 20  # bytes; ours are a few thousand


@dataclass(frozen=True)
class Release:
    """An opened release: its folder and parsed config. Opening checks the config alone."""

    folder: Path
    config: ReleaseConfig
    config_sha256: str
    moved_from: str | None = None  # the commit that was here before it was fetched anew
    # Fetches a file anew where it came from, or raises why it cannot; None where that is unknown.
    mend: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
    remedy: str = PULL  # where a file is not what its config pins

    @property
    def digest(self) -> str:
        """sha256 of model.safetensors (hex): what embeddings record as their model."""
        return self.config.files[MODEL].sha256

    def has(self, name: str) -> bool:
        """Whether the release lists the file `name`."""
        return name in self.config.files

    def read(self, name: str) -> bytes:
        """The verified content of one file: these very bytes have the recorded digest.

        A file of the Hub's cache that is damaged is fetched anew, once.

        Raises:
            ReleaseError: not part of the release, missing, or its size or sha256 differ.
            HubError: it is damaged, and the Hub cannot be reached.
            StorageError: it is damaged, and the cache cannot be written.
        """
        record = self.config.files.get(name)
        if record is None:
            raise ReleaseError(
                f"release {self.config.name!r} has no {name}; it holds "
                f"{', '.join(sorted(self.config.files))}"
            )
        try:
            return self._checked(name, record)
        except ReleaseError:
            if self.mend is None:
                raise
        self.mend(name)
        return self._checked(name, record)

    def _checked(self, name: str, record: FileRecord) -> bytes:
        content = _read_limited(self.folder / name, record.size)
        digest = hashlib.sha256(content).hexdigest()
        if len(content) != record.size or digest != record.sha256:
            raise ReleaseError(
                f"{str(self.folder / name)!r} is not the file that its config pins (sha256 "
                f"{digest[:12]}..., expected {record.sha256[:12]}...); {self.remedy}"
            )
        return content

    def verify(self) -> None:
        """Reads and checks every file that the config lists.

        Raises:
            ReleaseError, HubError, StorageError: as `read`.
        """
        for name in self.config.files:
            self.read(name)


def open_release(folder: Path, *, config_sha256: str | None = None, remedy: str = PULL) -> Release:
    """Opens a release folder.

    Args:
        folder: holds config.json.
        config_sha256: what config.json must hash to; without it the folder pins itself.
        remedy: what to do where a file is not what is pinned.

    Raises:
        UsageError: no such folder.
        ReleaseError: not a release, or not the one that was asked for.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{str(folder)!r} is not a folder; give a model's name or a release folder"
        )
    content = _read_limited(folder / CONFIG, CONFIG_LIMIT)
    if len(content) > CONFIG_LIMIT:
        raise ReleaseError(
            f"{str(folder / CONFIG)!r} has more than {CONFIG_LIMIT} bytes and is not read; a "
            "release's has a few thousand"
        )
    digest = hashlib.sha256(content).hexdigest()
    if config_sha256 is not None and digest != config_sha256:
        raise ReleaseError(
            f"{str(folder / CONFIG)!r} has sha256 {digest[:12]}..., expected "
            f"{config_sha256[:12]}...; {remedy}"
        )
    where = repr(str(folder / CONFIG))
    config = ReleaseConfig.from_json(parse_json(content, where), where)
    for name, record in config.files.items():
        if name not in PINNED:
            raise ReleaseError(
                f"{str(folder / CONFIG)!r} lists {name!r}; a release holds only {', '.join(PINNED)}"
            )
        if record.size > LIMITS.get(name, record.size):
            raise ReleaseError(
                f"{str(folder / CONFIG)!r} lists {name} with {record.size} bytes; at most "
                f"{LIMITS[name]} are read"
            )
    if MODEL not in config.files:
        raise ReleaseError(f"{str(folder / CONFIG)!r} does not list {MODEL}; it is not a release")
    return Release(folder, config, digest, remedy=remedy)


def write_files(folder: Path, config: ReleaseConfig, contents: Mapping[str, bytes]) -> Release:
    """Writes files of a release and then a config.json that pins them beside those it had."""
    records = dict(config.files)
    for name, content in contents.items():
        with atomic_file(folder / name) as path:
            path.write_bytes(content)
        records[name] = FileRecord(len(content), hashlib.sha256(content).hexdigest())
    config = replace(config, files=dict(sorted(records.items())))
    text = json.dumps(config.to_json(), indent=2) + "\n"
    with atomic_file(folder / CONFIG) as path:
        path.write_bytes(text.encode())  # as text, Windows would end its lines otherwise
    return Release(folder, config, hashlib.sha256(text.encode()).hexdigest())


def _read_limited(path: Path, limit: int) -> bytes:
    """Reads at most limit + 1 bytes of a regular file, and takes no more memory than it has.

    A symbolic link is followed only inside a Hub cache, from `snapshots/` into its `blobs/`; any
    other link is refused, so that a release cannot name files outside itself.
    """
    if path.is_symlink() and not _is_cache_link(path):
        raise ReleaseError(
            f"{str(path)!r} is a link out of the release; replace it by the file itself"
        )
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ReleaseError(f"{str(path)!r} is not a plain file; delete it and pull again")
            return file.read(min(limit, status.st_size) + 1)
    except FileNotFoundError as error:
        raise ReleaseError(
            f"{str(path.parent)!r} has no {path.name}; it is not a release or not whole: pull again"
        ) from error
    except OSError as error:
        raise ReleaseError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Opens without waiting for the other end, should it be a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _is_cache_link(path: Path) -> bool:
    """Whether a link is one of a Hub cache: CACHE/REPO/snapshots/REVISION/NAME -> REPO/blobs/.

    A blob may itself be a link into the store that the repositories of a cache share,
    CACHE/blobs/XX/ (huggingface_hub 2 does this for what it verified by content).
    """
    repo = path.parent.parent.parent
    target = Path(os.path.realpath(path))
    own, shared = (Path(os.path.realpath(folder / "blobs")) for folder in (repo, repo.parent))
    return path.parent.parent.name == "snapshots" and (
        target.parent == own or target.parent.parent == shared
    )
