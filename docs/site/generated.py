"""Writes what pages take from the package itself, before Sphinx reads them.

reference/commands.md comes from the command line; json-fields.md in _static/ from its schemas;
models.md, heads.md and attacks.md there from the registry and from the rows of docs/runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer.main
from json_fields import json_fields

from cfamc_zoo.cli.app import COMMANDS, app
from cfamc_zoo.zoo.catalogue.registry import AT_4, AT_8, CLEAN, bundled_folder, list_models
from cfamc_zoo.zoo.network.families.known import architecture_from
from cfamc_zoo.zoo.release.folder import MODEL
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, AccuracyRow, accuracies, parse_rows

SITE = Path(__file__).parent
RUNS = SITE.parent / "runs"
MEASURED = "resnet18-cifar10-free"  # whose rows explanations show
DATA = "cifar10"
SAMPLE = f"{DATA}-sample"
ENSEMBLE = "linear head chosen for robustness; AutoAttack"
PUBLISHED = "the paper's public script: its head, zero start, step 0.01"
RADII = {"": "clean", "4/255": "PGD-20 at 4/255", "8/255": "PGD-20 at 8/255"}
HEADS = {
    OWN_PROTOCOL: "chosen for robustness (released)",
    "linear head chosen for clean accuracy; PGD, random start": "chosen for clean accuracy",
}
ATTACKS = {
    (PUBLISHED, "PGD-2", DATA): "the paper's",
    (PUBLISHED, "PGD-20", DATA): "the paper's",
    (OWN_PROTOCOL, "PGD-20", SAMPLE): "released",
    (ENSEMBLE, "APGD-CE", SAMPLE): "released",
    (ENSEMBLE, "AutoAttack", SAMPLE): "released",
}
SPECIAL = re.compile(r"([*_<>|\[\]`])")  # what Markdown would take for its own


def setup(sphinx: Any) -> dict[str, bool]:
    sphinx.connect("builder-inited", write)
    return {"parallel_read_safe": True}


def write(sphinx: Any = None) -> None:
    rows = rows_of(MEASURED)
    for file, text in {
        "reference/commands.md": commands(),
        "_static/models.md": models(),
        "_static/heads.md": heads(rows),
        "_static/attacks.md": attacks(rows),
        "_static/json-fields.md": json_fields(COMMANDS),
    }.items():
        SITE.joinpath(file).write_text(text, encoding="utf-8")


def rows_of(name: str) -> Sequence[AccuracyRow]:
    """The accuracies of docs/runs/NAME."""
    file = RUNS / name / "results.json"
    return accuracies(parse_rows(file.read_bytes(), str(file)))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def models() -> str:
    """What the package carries, the most robust first."""
    rows = []
    for spec in list_models():
        if spec.bundled:
            size = (bundled_folder(spec.name) / MODEL).stat().st_size / 1e6
            values = architecture_from(spec.architecture).dimension("backbone")
            found = [f"{spec.accuracy(m) or 0:.2f}" for m in (CLEAN, AT_4, AT_8)]
            rows.append((f"`{spec.name}`", f"{values} values, {size:.0f} MB", *found))
    return table(("encoder", "a vector, its weights", "clean", "4/255", "8/255"), rows)


def heads(rows: Sequence[AccuracyRow]) -> str:
    """Accuracies of one encoder under each head, all test images."""
    measured = {(r.protocol, r.eps): f"{r.value:.2f}" for r in rows if r.data == DATA}
    cells = [(head, *(measured[key, eps] for eps in RADII)) for key, head in HEADS.items()]
    return table(("head", *RADII.values()), cells)


def attacks(rows: Sequence[AccuracyRow]) -> str:
    """The same encoder at 8/255 by attacks of growing strength, under two heads."""
    found = {(r.protocol, r.attack, r.data): r for r in rows if r.eps == "8/255"}
    cells = [
        (attack, head, f"{row.n:,}", f"{row.value:.2f}", f"{row.low:.1f} to {row.high:.1f}")
        for (protocol, attack, data), head in ATTACKS.items()
        for row in [found[protocol, attack, data]]
    ]
    return table(("attack", "head", "images", "%", "95% interval"), cells)


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
    options = [f"| {_code(taken)} | {_text(text)} |" for taken, text in filter(None, rows)]
    parts = [f"## {name}\n", f"{_text(command.help)}\n", f"```\n{usage}\n```\n"]
    if command.epilog:
        examples = command.epilog.removeprefix("\b\nExamples:\n")
        lines = "\n".join(line.strip() for line in examples.splitlines())
        parts += ["For example:\n", f"```\n{lines}\n```\n"]
    return [*parts, "| option | takes |\n|---|---|", *options, ""]


def _code(text: str) -> str:
    """In a cell, whose end a pipe would be in code too."""
    return f"`{text}`" if "|" not in text else f"<code>{text.replace('|', '&#124;')}</code>"


def _text(text: str) -> str:
    """As it stands: what stands between backticks is code, nothing else means anything."""
    parts = text.split("`")
    escaped = [SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    code = [_code(part) for part in parts[1::2]]
    return "".join(a + b for a, b in zip(escaped, [*code, ""], strict=True))
