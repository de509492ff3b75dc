"""`cfamc-zoo push`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Json
from cfamc_zoo.errors import HubError

EXAMPLES = (
    "cfamc-zoo push my-encoder me/my-encoder --dry-run",
    "cfamc-zoo push my-encoder me/my-encoder --private",
)


def push(
    folder: Annotated[Path, typer.Argument(help="A release folder, made by `export`, or a run.")],
    repo: Annotated[str, typer.Argument(help="ORGANIZATION/NAME on the Hub.")],
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check all and show what would be pushed; needs no network."
        ),
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Create the repository private.")
    ] = False,
    revision: Annotated[str, typer.Option(help="Branch to commit to.")] = "main",
    json: Json = False,
) -> None:
    """Publish a release to the Hub, in one commit."""
    from cfamc_zoo.datasets import load_dataset
    from cfamc_zoo.export import push as hub
    from cfamc_zoo.export.publish import CHECKED
    from cfamc_zoo.export.release import check_release
    from cfamc_zoo.zoo.catalogue.resolve import open_folder
    from cfamc_zoo.zoo.release.folder import CARD

    release = open_folder(folder)
    hub.check_pushable(release)
    check_release(release, load_dataset("cifar10-sample", limit=CHECKED).images)
    visibility: hub.Visibility = "private" if private else "public"
    unasked = ""
    try:
        plan = hub.plan_push(release, repo, visibility=visibility, branch=revision)
    except HubError as error:
        if not dry_run:
            raise
        unasked = str(error)
        plan = hub.plan_alone(release, repo, visibility=visibility, branch=revision)
    if plan.creates in ("repository", "branch"):
        kind = f"{visibility} repository" if plan.creates == "repository" else "branch"
        output.note(f"{'would make' if dry_run else 'making'} {kind} {repo}, branch {revision}")
    for file in plan.files:
        change = "" if file.change == "unknown" else file.change
        output.note(f"{change:>8} {file.size:>12,} {file.sha256[:12]} {file.name}")
    planned = {
        "repo": repo,
        "branch": revision,
        "visibility": visibility,
        "creates": plan.creates,
        "files": [asdict(file) for file in plan.files],
    }
    if dry_run:
        card = plan.contents[CARD].decode()
        if json:
            output.json_result({**planned, "card": card, "asked": not unasked})
        else:
            output.result(card.rstrip())
        if unasked:
            output.note(f"the Hub was not asked, so what it holds is not known: {unasked}")
        return
    pushed = hub.push(plan)
    if not pushed.made:
        output.note(f"everything was there already, at {pushed.commit[:12]}")
    if json:
        output.json_result({**planned, **asdict(pushed)})
    else:
        output.result(pushed.url)
