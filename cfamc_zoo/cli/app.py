"""The door: the table of commands, and the one place where an error becomes a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from cfamc_zoo import __version__
from cfamc_zoo.cli import output
from cfamc_zoo.cli.attack import attack
from cfamc_zoo.cli.doctor import doctor
from cfamc_zoo.cli.embed import embed
from cfamc_zoo.cli.export import export
from cfamc_zoo.cli.info import info
from cfamc_zoo.cli.list import list_models
from cfamc_zoo.cli.probe import probe
from cfamc_zoo.cli.pull import pull
from cfamc_zoo.cli.push import push
from cfamc_zoo.cli.train import train
from cfamc_zoo.errors import UnknownNameError, ZooError

COMMANDS: dict[str, tuple[str, Callable[..., None]]] = {
    "list": ("Find", list_models),
    "info": ("Find", info),
    "pull": ("Find", pull),
    "embed": ("Use", embed),
    "probe": ("Evaluate", probe),
    "attack": ("Evaluate", attack),
    "train": ("Make", train),
    "export": ("Make", export),
    "push": ("Make", push),
    "doctor": ("Help", doctor),
}

# What typer raises for wrong usage; it exports the subclass but not the base.
WrongUsage: type[Exception] = typer.BadParameter.__mro__[2]  # type: ignore[assignment]

app = typer.Typer(
    name="cfamc-zoo",
    help="Robust image encoders: embed, probe, attack, retrain.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, (_panel, _function) in COMMANDS.items():
    app.command(_name, rich_help_panel=_panel)(_function)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        output.result(f"cfamc-zoo {__version__}")
    elif context.invoked_subcommand is None:
        output.result(context.get_help())


def main() -> None:
    """Runs the command line; the exit code is the design's: 0, 1, 2 or 130."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    try:
        given = next((a for a in arguments if not a.startswith("-")), None)
        if given is not None and given not in COMMANDS and arguments[0] == given:
            raise UnknownNameError("command", given, COMMANDS)
        return app(arguments, prog_name="cfamc-zoo", standalone_mode=False) or 0
    except ZooError as error:
        output.note(f"error: {error}")
        return error.exit_code
    except WrongUsage as error:
        output.note(f"error: {error.format_message()}")  # type: ignore[attr-defined]
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away, as `| head` does. Python flushes stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
