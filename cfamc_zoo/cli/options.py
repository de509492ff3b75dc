"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from cfamc_zoo.cli.completion import model_names

Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        autocompletion=model_names,
        help="A name, a release folder, a run or ORGANIZATION/NAME. [default: the smallest]",
    ),
]
Measured = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        autocompletion=model_names,
        help="A name, a release folder, a run, ORGANIZATION/NAME, or code of yours: "
        "package.module:factory. [default: the smallest]",
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1, ... [default: the GPU]")
]
AttackBatch = Annotated[
    int | None,
    typer.Option(min=1, help="Images at a time. [default: 128, 512 on a GPU; fewer large ones]"),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: one a core]")]
Seed = Annotated[
    int, typer.Option(min=0, help="A whole number; the same one gives the same draws.")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Use N images: of a folder a fair sample, else the first.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object to stdout.")]
