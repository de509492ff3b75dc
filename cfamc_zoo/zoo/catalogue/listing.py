"""The releases that an organization has on the Hub, described without their weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cfamc_zoo.errors import HubError, ReleaseError, UsageError
from cfamc_zoo.zoo.catalogue.download import fetch_summary
from cfamc_zoo.zoo.catalogue.entry import entry_of
from cfamc_zoo.zoo.catalogue.hub_errors import hub_errors
from cfamc_zoo.zoo.catalogue.registry import ModelSpec
from cfamc_zoo.zoo.catalogue.resolve import REPOSITORY
from cfamc_zoo.zoo.release.folder import CONFIG, MODEL

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

LIBRARY = "cfamc-zoo"  # the library_name of our cards; the Hub makes a tag of it
OWNER = re.compile(r"[A-Za-z0-9][\w.-]*")
MOST = 1000  # repositories that are looked at
AT_ONCE = 8


@dataclass(frozen=True)
class Listing:
    """What was found: releases, and why repositories that carry our tag are none."""

    models: list[ModelSpec]
    left_out: dict[str, str]


def list_remote(owner: str) -> Listing:
    """Every release of an organization or a user on the Hub, with its measured accuracies.

    Repositories without our tag or without a release's files are passed over. Of each other
    config.json and results.json are fetched and checked, at the commit that the Hub listed.

    Raises:
        UsageError: a name that nobody can have.
        HubError: no such owner, no access, no network, or what answers is no Hub.
    """
    from huggingface_hub import HfApi

    if not OWNER.fullmatch(owner):
        raise UsageError(f"{owner!r} cannot be an organization; give the name before the slash")
    api = HfApi()
    with _speaks(owner), hub_errors(owner):
        # First, because it fails at once where the listing would try again for long.
        known = _is_known(api, owner)
        found = list(api.list_models(author=owner, filter=LIBRARY, full=True, limit=MOST))
    if not known and not found:
        raise HubError(f"the Hub knows no organization or user {owner!r}; check the name")
    ours = [info for info in found if _carries_a_release(info, owner)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = dict(zip((i.id for i in ours), threads.map(_describe, ours), strict=True))
    return Listing(
        [spec for spec in outcomes.values() if isinstance(spec, ModelSpec)],
        {repo: why for repo, why in outcomes.items() if isinstance(why, str)},
    )


def _is_known(api: HfApi, owner: str) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    for ask in (api.get_organization_overview, api.get_user_overview):
        try:
            ask(owner)
        except HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
        else:
            return True
    return False


def _carries_a_release(info: ModelInfo, owner: str) -> bool:
    files = {file.rfilename for file in info.siblings or ()}
    return (
        REPOSITORY.fullmatch(info.id) is not None
        and info.id.split("/")[0].lower() == owner.lower()
        and LIBRARY in (info.library_name, *(info.tags or ()))
        and {CONFIG, MODEL} <= files
    )


def _describe(info: ModelInfo) -> ModelSpec | str:
    """A repository as the registry would have it, or why it is not a release."""
    try:
        release = fetch_summary(info.id, revision=info.sha)
        spec = entry_of(release, repo=info.id, revision=release.folder.name)
    except ReleaseError as error:
        return str(error)
    except HubError as error:
        if info.gated:  # it is listed to everybody and open to some
            return str(error)
        raise
    return replace(spec, name=info.id)  # what a pull takes


@contextmanager
def _speaks(owner: str) -> Iterator[None]:
    """JSON of another shape than the client expects is an answer of something else."""
    try:
        yield
    except (TypeError, AttributeError) as error:
        raise HubError(
            f"what answers for {owner} does not speak as a Hub does; check HF_ENDPOINT"
        ) from error
