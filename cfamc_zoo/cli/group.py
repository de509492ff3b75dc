"""Commands that are imported when they are called, so that `--help` and `list` start at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cfamc_zoo.cli import output

# What a value is called in help, by what typer calls its type.
WORDS = {
    "<int>": "N",
    "<int range>": "N",
    "<float>": "NUMBER",
    "<float range>": "NUMBER",
    "<path>": "PATH",
    "<str>": "TEXT",
}
AT_LEAST = re.compile(r"\bx>=([\d.]+)")


@dataclass(frozen=True)
class Entry:
    """What the group's help says of the command NAME without importing cfamc_zoo.cli.commands.NAME.

    `line` is the first line of the docstring of the function NAME there; a test compares them.
    That file's `EXAMPLES`, whole command lines, end the command's help.
    """

    panel: str
    line: str


class Command(TyperCommand):
    """A command whose options cost nothing where they are not given."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        for parameter in self.params:
            _leave_none(parameter)
            _speak_plainly(parameter)

    def get_help_option(self, ctx: Any) -> Any:
        return _our_own(super().get_help_option(ctx))


class Group(TyperGroup):
    """The commands of `table`, each imported when it is asked for."""

    table: Mapping[str, Entry] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.table:
            return None
        module = import_module(f"cfamc_zoo.cli.commands.{cmd_name}")
        one = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
        )
        epilog = examples_epilog(getattr(module, "EXAMPLES", ()))
        one.command(cmd_name, cls=Command, epilog=epilog)(getattr(module, cmd_name))
        return typer.main.get_command(one)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One section a panel; lines are wrapped, never cut."""
        for panel in dict.fromkeys(entry.panel for entry in self.table.values()):
            with formatter.section(panel):
                formatter.write_dl(
                    [(name, e.line) for name, e in self.table.items() if e.panel == panel]
                )

    def get_help_option(self, ctx: Any) -> Any:
        return _our_own(super().get_help_option(ctx))


def examples_epilog(lines: Sequence[str]) -> str | None:
    """The end of a help text: lines that can be typed, each kept as it is; None of none."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines))) if lines else None


def _speak_plainly(parameter: Any) -> None:
    """In help, a value is called by a word of `WORDS`, not by a type of Python's."""
    record, pieces = parameter.get_help_record, parameter.get_usage_pieces
    if parameter.param_type_name == "argument":
        parameter.metavar = parameter.metavar or parameter.name.upper()

    def plain_record(ctx: Any) -> tuple[str, str] | None:
        found = record(ctx)
        if found is None:
            return None
        taken, text = found
        if parameter.param_type_name == "argument":
            taken = parameter.metavar
        for kind, word in WORDS.items():
            taken = taken.replace(kind, word)
        return taken, AT_LEAST.sub(r"at least \1", text.replace("]  [", "; "))

    def plain_pieces(ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in pieces(ctx)]

    parameter.get_help_record, parameter.get_usage_pieces = plain_record, plain_pieces


def _leave_none(parameter: Any) -> None:
    """An absent value stays None: typer would import pydantic, 80 ms, to see that."""
    process = parameter.process_value
    plain = parameter.nargs == 1 and not (
        parameter.required or parameter.callback or parameter.multiple
    )

    def quick(ctx: Any, value: Any) -> Any:
        return None if value is None and plain else process(ctx, value)

    parameter.process_value = quick


def _our_own(option: Any) -> Any:
    """The help option without pydantic, which its callback asks for, and printed as all is."""
    if option is not None:
        option.default = False
        option.callback = _show_help
    return option


def _show_help(ctx: Any, parameter: Any, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        output.result(ctx.get_help())
        ctx.exit()
