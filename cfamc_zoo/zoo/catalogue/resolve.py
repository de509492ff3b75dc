"""From a name to a release: a known model, a folder, a run or a repository on the Hub."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.catalogue.registry import ModelSpec, bundled_folder, known_models
from cfamc_zoo.zoo.release.folder import CONFIG, Release, open_release

# What training writes into the folder of a run, and where its release is when it has ended.
CHECKPOINT, METRICS, RELEASE = "checkpoint.safetensors", "metrics.jsonl", "release"
OF_A_RUN = (CHECKPOINT, METRICS)
REINSTALL = "pip install --force-reinstall cfamc-zoo"
REPOSITORY = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?"
)
# What a person's own code is called: a module to import, and what it is asked for.
CODE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
TIMM = "timm:"


def open_folder(folder: Path) -> Release:
    """Opens a release folder, or the release that a training run has made in its folder.

    Raises:
        UsageError: no such folder, or a run that is not finished.
        ReleaseError: not a release.
    """
    if not folder.is_dir() or os.path.lexists(folder / CONFIG):
        return open_release(folder)
    if os.path.lexists(folder / RELEASE / CONFIG):
        return open_release(folder / RELEASE)
    if any((folder / name).exists() for name in OF_A_RUN):
        raise UsageError(f"{str(folder)!r} is a run that is not finished: {_finish(folder)}")
    return open_release(folder)  # which says what is missing


def _finish(run: Path) -> str:
    """The command that brings a run to its end."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(run / CHECKPOINT, "np") as file:
            recipe = json.loads(file.metadata()["recipe"])["name"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return "it has no checkpoint that can be read; start it again with `cfamc-zoo train`"
    return f"cfamc-zoo train {recipe} -o {shlex.quote(str(run))} --resume"


def resolve(
    name: str, *, revision: str | None = None, say: Callable[[str], None] | None = None
) -> Release:
    """Opens a release by model name, folder or Hub repository.

    Args:
        name: a known model's; or an existing folder, which pins itself through its config.json,
            or holds a training run that has come to its end; or ORGANIZATION/NAME[@REVISION] on
            the Hub, which pins itself too, unless it is a known model's repository.
        revision: of a repository.
        say: takes a line for each file of the Hub's cache that was damaged and is whole again.

    Raises:
        UnknownNameError: none of these.
        UsageError: no such folder or revision, or a revision of what has none.
        ReleaseError: not a release, or not the pinned one.
        HubError: the Hub cannot be reached or refuses.
    """
    found = REPOSITORY.fullmatch(name)
    by_repo = {spec.repo: spec for spec in known_models().values()}
    if name in known_models() or name in by_repo:
        return _open(known_models().get(name) or by_repo[name], revision, say)
    if Path(name).exists() or not found:
        if name.startswith(TIMM):
            raise UsageError(
                f"{name!r} is a network; `cfamc-zoo export {name} -o FOLDER` makes a "
                "release of it, and -m FOLDER takes that"
            )
        if CODE.fullmatch(name):
            raise UsageError(
                f"{name!r} names code, which `attack`, `probe`, `edits` and `export` "
                "take; all else takes a model's name or a release folder"
            )
        if "/" not in name and "\\" not in name and not Path(name).exists():
            raise UnknownNameError("model", name, known_models())
        if revision is not None:
            raise UsageError(f"folder {name!r} has no revisions; leave {revision!r} away")
        return open_folder(Path(name))
    if revision is not None and found["revision"] is not None:
        raise UsageError(f"{name!r} names a revision and so does {revision!r}; give one of them")
    from cfamc_zoo.zoo.catalogue.download import fetch

    return fetch(found["repo"], revision=revision or found["revision"], say=say)


def _open(spec: ModelSpec, revision: str | None, say: Callable[[str], None] | None) -> Release:
    pinned = revision in (None, spec.revision)
    if not spec.bundled:
        from cfamc_zoo.zoo.catalogue.download import fetch

        # Another revision than the pinned one pins itself by its config.
        sha256 = spec.config_sha256 if pinned else None
        wanted = revision or spec.revision
        return fetch(spec.repo, revision=wanted, config_sha256=sha256, say=say)
    if not pinned:
        raise UsageError(
            f"model {spec.name!r} is part of the package, which holds one revision of it; leave "
            f"{revision!r} away"
        )
    return open_release(
        bundled_folder(spec.name), config_sha256=spec.config_sha256, remedy=REINSTALL
    )
