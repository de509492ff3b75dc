"""The door: the table of commands, and the one place where an error becomes a line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.completion import prepare_completion
from cfamc_zoo.cli.group import Entry, Group, examples_epilog
from cfamc_zoo.errors import UnknownNameError, ZooError
from cfamc_zoo.threads import sleep_when_idle
from cfamc_zoo.version import __version__

COMMANDS = {
    "list": Entry("Find", "List the models and what was measured of them."),
    "info": Entry("Find", "Show one model's card: what it is, how it was made, what was measured."),
    "pull": Entry("Find", "Fetch and verify a model; print its folder."),
    "embed": Entry("Use", "Turn images into vectors."),
    "search": Entry("Use", "Find the nearest images among vectors that `embed` wrote."),
    "probe": Entry("Evaluate", "Fit a linear head on frozen features; report its accuracy."),
    "attack": Entry("Evaluate", "Measure clean and robust accuracy."),
    "edits": Entry("Evaluate", "Measure how far ordinary edits move an encoder's vectors."),
    "measure": Entry("Evaluate", "Measure a release by protocols, into its results.json."),
    "verify": Entry("Evaluate", "Measure again what a model's card claims."),
    "train": Entry("Make", "Pretrain an encoder from a recipe."),
    "export": Entry("Make", "Make a release folder, ONNX graph included, and check it."),
    "push": Entry("Make", "Publish a release to the Hub, in one commit."),
    "doctor": Entry(
        "Help", "Say what is installed, which devices work, and what to do about the rest."
    ),
}

EXAMPLES = (
    "cfamc-zoo embed images/ -o images.parquet",
    "cfamc-zoo attack --eps 8/255 --limit 100",
)

# What typer raises for wrong usage; it exports the subclass but not the base.
WrongUsage: type[Exception] = typer.BadParameter.__mro__[2]  # type: ignore[assignment]


class Root(Group):
    table = COMMANDS


app = typer.Typer(
    name="cfamc-zoo",
    cls=Root,
    help="Robust image encoders: embed, probe, attack, retrain.",
    epilog=examples_epilog(EXAMPLES),
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: quick to start, and rich would take "[default: the smallest]" for markup.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    sleep_when_idle()  # here, where torch is not imported yet
    output.write_anything()
    prepare_completion()
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
        output.drop_stdout()  # the reader went away, as `| head` does
        return 1
