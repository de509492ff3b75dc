"""Writes what pages take from the package itself, before Sphinx reads them.

reference/commands.md comes from the command line; _static/two-heads.md from the rows of the
bundled release.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer.main

from cfamc_zoo.cli.app import COMMANDS, app

SITE = Path(__file__).parent
MEASURED = SITE.parent / "runs/resnet18-thin-cifar10-free"


def setup(sphinx: Any) -> dict[str, bool]:
    sphinx.connect("builder-inited", write)
    return {"parallel_read_safe": True}


def write(sphinx: Any = None) -> None:
    for file, text in {
        "reference/commands.md": commands(),
        "_static/two-heads.md": heads(),
    }.items():
        SITE.joinpath(file).write_text(text, encoding="utf-8")


def heads() -> str:
    """Accuracies of the bundled encoder under each head that it was measured with, all images."""
    rows = json.loads((MEASURED / "results.json").read_text())
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["data"] == "cifar10" and "low" in row:
            cells = table.setdefault(row["protocol"].split(";")[0], {})
            cells[row["eps"]] = f"{row['value']:.2f}"
    lines = [f"| {head} | {' | '.join(cells.values())} |" for head, cells in table.items()]
    radii = [f"PGD-20 at {eps}" if eps else "clean" for eps in next(iter(table.values()))]
    return "\n".join([f"| | {' | '.join(radii)} |", "|---" * (len(radii) + 1) + "|", *lines]) + "\n"


def commands() -> str:
    """Every command: what it does, how it is called, what each option takes, examples."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("cfamc-zoo", [], resilient_parsing=True)
    parts = ["# Commands\n", "`cfamc-zoo COMMAND --help` says the same in a terminal.\n"]
    for name in COMMANDS:
        command = group.get_command(context, name)
        parts += _section(name, command, type(context)(command, parent=context, info_name=name))
    return "\n".join(parts)


def _section(name: str, command: Any, context: Any) -> list[str]:
    usage = " ".join(["cfamc-zoo", name, *command.collect_usage_pieces(context)])
    rows = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    table = [f"| `{taken}` | {_cell(text)} |" for taken, text in filter(None, rows)]
    parts = [f"## {name}\n", f"{command.help}\n", f"```\n{usage}\n```\n"]
    if command.epilog:
        examples = command.epilog.removeprefix("\b\nExamples:\n")
        parts.append(
            "```\n" + "\n".join(line.strip() for line in examples.splitlines()) + "\n```\n"
        )
    return [*parts, "| option | takes |\n|---|---|", *table, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
