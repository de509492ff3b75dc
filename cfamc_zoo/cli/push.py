"""`cfamc-zoo push`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Json


def push(
    folder: Annotated[Path, typer.Argument(help="A release folder, made by `export`.")],
    repo: Annotated[str, typer.Argument(help="ORGANIZATION/NAME on the Hub.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be pushed, and the card.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Create the repository private.")
    ] = False,
    revision: Annotated[str, typer.Option(help="Branch to commit to.")] = "main",
    json: Json = False,
) -> None:
    """Publish a release to the Hub, in one commit."""
    from cfamc_zoo.datasets import load_dataset
    from cfamc_zoo.export import hub
    from cfamc_zoo.export.release import check_release
    from cfamc_zoo.zoo.weights import CARD, open_release

    release = open_release(folder)
    check_release(release, load_dataset("cifar10-sample").images[:64])
    visibility: hub.Visibility = "private" if private else "public"
    plan = hub.plan_push(release, repo, visibility=visibility, branch=revision)
    if plan.creates != "nothing":
        kind = f"{visibility} repository" if plan.creates == "repository" else "branch"
        output.note(f"{'would make' if dry_run else 'making'} {kind} {repo}, branch {revision}")
    for file in plan.files:
        output.note(f"{file.change:>8} {file.size:>12,} {file.sha256[:12]} {file.name}")
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
            output.json_result({**planned, "card": card})
        else:
            output.result(card.rstrip())
        return
    pushed = hub.push(plan)
    if not pushed.made:
        output.note(f"everything was there already, at {pushed.commit[:12]}")
    if json:
        output.json_result({**planned, **asdict(pushed)})
    else:
        output.result(pushed.url)
