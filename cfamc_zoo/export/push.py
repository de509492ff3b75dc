"""A release to the Hub: a plan that can be read first, then one commit."""

from __future__ import annotations

import hashlib
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cfamc_zoo.errors import HubError, ReleaseError, UsageError
from cfamc_zoo.export.card import render_release
from cfamc_zoo.zoo.catalogue.hub_errors import hub_errors
from cfamc_zoo.zoo.catalogue.resolve import CHECKPOINT
from cfamc_zoo.zoo.release.folder import CARD, CONFIG, GRAPH, PINNED, Release

Visibility = Literal["public", "private"]
MAIN = "main"


@dataclass(frozen=True)
class PlannedFile:
    """One file: what it is and what a push does to it."""

    name: str
    size: int  # bytes
    sha256: str
    change: Literal["new", "changed", "same", "removed", "unknown"]


@dataclass(frozen=True)
class PushPlan:
    """What a push would do. Making it writes nothing anywhere."""

    repo: str
    branch: str
    visibility: Visibility
    creates: Literal["repository", "branch", "nothing", "unknown"]
    head: str | None  # the commit that it was compared with
    files: tuple[PlannedFile, ...]
    contents: Mapping[str, bytes]

    @property
    def changes(self) -> tuple[PlannedFile, ...]:
        """The files that differ from what is there."""
        return tuple(file for file in self.files if file.change != "same")


@dataclass(frozen=True)
class Pushed:
    """What a push came to. `made` is false where everything was there already."""

    url: str
    commit: str
    made: bool


def plan_push(
    release: Release,
    repo: str,
    *,
    visibility: Visibility = "public",
    branch: str = MAIN,
) -> PushPlan:
    """Compares a release with what a repository holds.

    Every byte that will be sent is read and checked here. The card is written anew from the
    release's data, whatever README.md says. Files of an older release that this one lacks go.

    Args:
        release: with a graph; `export.release.check_release` says whether it is sound.
        repo: "organization/name"; need not exist.
        visibility: of a repository that is created.
        branch: to commit to; made from the main one if missing.

    Raises:
        ReleaseError: no graph, or a file is not what the config pins.
        UsageError: a private push to a repository that is public.
        HubError: the Hub cannot be asked.
    """
    contents = _contents(release)
    there = _remote(repo, branch)
    elsewhere = None if there else _remote(repo, MAIN)
    known = there or elsewhere
    if known and visibility == "private" and not known.private:
        raise UsageError(f"{repo} is there and public; leave --private away or push elsewhere")
    held = known.files if known else {}
    return PushPlan(
        repo=repo,
        branch=branch,
        visibility=visibility,
        creates="nothing" if there else "branch" if elsewhere else "repository",
        head=there.head if there else None,
        files=tuple(_compare(contents, held)),
        contents=contents,
    )


def plan_alone(
    release: Release,
    repo: str,
    *,
    visibility: Visibility = "public",
    branch: str = MAIN,
) -> PushPlan:
    """What a push would send, where the Hub is not asked what it holds; to look at only.

    Raises:
        ReleaseError: as `plan_push`.
    """
    contents = _contents(release)
    files = [replace(file, change="unknown") for file in _compare(contents, {})]
    return PushPlan(repo, branch, visibility, "unknown", None, tuple(files), contents)


def check_pushable(release: Release) -> None:
    """Says at once what a release lacks that others need.

    Raises:
        ReleaseError: it has no graph, like what `train` leaves; says what makes a whole one.
    """
    if not release.has(GRAPH):
        parent = release.folder.parent
        made_of = parent if (parent / CHECKPOINT).exists() else release.folder
        raise ReleaseError(
            f"{str(release.folder)!r} has no {GRAPH}; make a whole release with `cfamc-zoo export`"
            f": cfamc-zoo export {shlex.quote(str(made_of))} -o DIR, then push DIR"
        )


def _contents(release: Release) -> dict[str, bytes]:
    """Every file as it will be sent, checked, and the card."""
    check_pushable(release)
    contents = {name: release.read(name) for name in release.config.files}
    contents[CONFIG] = (release.folder / CONFIG).read_bytes()
    if hashlib.sha256(contents[CONFIG]).hexdigest() != release.config_sha256:
        raise ReleaseError(f"{str(release.folder / CONFIG)!r} has changed; push again")
    contents[CARD] = render_release(release).encode()
    return contents


def push(plan: PushPlan) -> Pushed:
    """Does what the plan says: repository and branch if missing, then one commit.

    A second push of the same release changes nothing. Where the answer to the commit is lost,
    the Hub is asked whether it has it. A commit of someone else since the plan was made is an
    error. The token comes from where the Hub's own tools look for it.

    Raises:
        UsageError: the branch cannot be made.
        HubError: no token, no access, or the Hub cannot be reached; nothing was committed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with hub_errors(plan.repo, revision=plan.branch):
        api.whoami()  # a token that is missing or wrong, before anything is made
        if plan.creates == "repository":
            api.create_repo(plan.repo, private=plan.visibility == "private", exist_ok=True)
        if plan.creates != "nothing" and plan.branch != MAIN:
            api.create_branch(plan.repo, branch=plan.branch, exist_ok=True)
    if not plan.changes and plan.head:
        return Pushed(_url(plan), plan.head, made=False)
    now = _remote(plan.repo, plan.branch)
    if now is None:
        raise HubError(f"{plan.repo} was made and is not there; push again")
    files = [file for file in _compare(plan.contents, now.files) if file.change != "same"]
    if not files:  # an earlier push did it and could not say so
        return Pushed(_url(plan), now.head, made=False)
    operations: list[Any] = [
        CommitOperationDelete(file.name)
        if file.change == "removed"
        else CommitOperationAdd(file.name, plan.contents[file.name])
        for file in files
    ]
    try:
        with hub_errors(plan.repo, revision=plan.branch), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the Hub's remarks on metadata
            commit = api.create_commit(
                plan.repo,
                operations,
                commit_message="Release",
                revision=plan.branch,
                parent_commit=plan.head or now.head,
            ).oid
    except HubError:
        commit_there = _committed(plan)
        if commit_there is None:
            raise
        commit = commit_there
    return Pushed(_url(plan), commit, made=True)


@dataclass(frozen=True)
class _Remote:
    head: str
    private: bool
    files: Mapping[str, str]  # name to git's or, for large ones, LFS's own digest


def _remote(repo: str, branch: str) -> _Remote | None:
    """What a branch holds; None where there is no such repository or branch."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.hf_api import RepoFile

    api = HfApi()
    with hub_errors(repo, revision=branch):
        try:
            info = api.model_info(repo, revision=branch)
            entries = list(api.list_repo_tree(repo, revision=info.sha))
        except RevisionNotFoundError:
            return None
        except RepositoryNotFoundError as error:
            if isinstance(error, GatedRepoError):
                raise
            return None
    files = {e.path: e.lfs.sha256 if e.lfs else e.blob_id for e in entries if type(e) is RepoFile}
    return _Remote(str(info.sha), bool(info.private), files)


def _compare(contents: Mapping[str, bytes], held: Mapping[str, str]) -> list[PlannedFile]:
    files = []
    for name, content in sorted(contents.items()):
        sha256 = hashlib.sha256(content).hexdigest()
        digests = (sha256, hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
        same = held.get(name) in digests
        change = "same" if same else "changed" if name in held else "new"
        files.append(PlannedFile(name, len(content), sha256, change))  # type: ignore[arg-type]
    gone = [name for name in PINNED if name in held and name not in contents]
    return files + [PlannedFile(name, 0, "", "removed") for name in gone]


def _committed(plan: PushPlan) -> str | None:
    """The commit that holds everything, if there is one though its answer was lost."""
    try:
        now = _remote(plan.repo, plan.branch)
    except HubError:
        return None
    if now is None or any(f.change != "same" for f in _compare(plan.contents, now.files)):
        return None
    return now.head


def _url(plan: PushPlan) -> str:
    from huggingface_hub import constants

    tail = "" if plan.branch == MAIN else f"/tree/{plan.branch}"
    return f"{constants.ENDPOINT}/{plan.repo}{tail}"
