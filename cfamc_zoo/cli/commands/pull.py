"""`cfamc-zoo pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.completion import model_names
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Json

EXAMPLES = (
    "cfamc-zoo pull resnet18-cifar10-free --dest encoder",
    "cfamc-zoo pull somebody/their-encoder --revision main",
)


def pull(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=model_names, help="A model's name, or ORGANIZATION/NAME on the Hub."
        ),
    ],
    revision: Annotated[
        str | None,
        typer.Option(help="A branch, tag or commit of its repository. [default: the pinned one]"),
    ] = None,
    dest: Annotated[Path | None, typer.Option(help="Copy the release to this new folder.")] = None,
    json: Json = False,
) -> None:
    """Fetch and verify a model; print its folder."""
    from cfamc_zoo.zoo.catalogue.download import copy_release

    release = open_model(name, revision=revision)
    release.verify()
    if dest is not None:
        release = copy_release(release, dest)
    if json:
        files = {file: record.sha256 for file, record in release.config.files.items()}
        output.json_result({"name": name, "folder": str(release.folder), "sha256": files})
    else:
        output.result(str(release.folder))
