"""Every help text ends with examples, and says of each option what it takes; the examples run."""

import re
from importlib import import_module

import pytest
import typer.main

from cfamc_zoo.cli.app import COMMANDS, app, run
from cfamc_zoo.cli.app import EXAMPLES as FIRST
from tests.docs.showing import perform
from tests.sweep import sweep

WIDTH = 80


def examples_of(name):
    return getattr(import_module(f"cfamc_zoo.cli.commands.{name}"), "EXAMPLES", ())


def parameters_of(name):
    group = typer.main.get_command(app)
    context = group.make_context("cfamc-zoo", [], resilient_parsing=True)
    command = group.get_command(context, name)
    inside = type(context)(command, parent=context, info_name=name)
    return [p.get_help_record(inside) for p in command.get_params(inside)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_two_examples(name):
    file = f"cfamc_zoo/cli/commands/{name}.py"
    lines = examples_of(name)
    assert len(lines) >= 2, f"{file} lacks EXAMPLES = (...), two lines that can be typed"
    for line in lines:
        assert line.startswith(f"cfamc-zoo {name}"), f"{file}: {line!r} is not of this command"


@pytest.mark.parametrize(("name", "lines"), [("", FIRST), *((n, examples_of(n)) for n in COMMANDS)])
def test_the_help_ends_with_the_examples_as_they_are(name, lines, capsys):
    assert run([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out.rstrip().splitlines()
    shown = said[said.index("  Examples:") + 1 :]
    assert shown == [f"    {line}" for line in lines]
    assert max(map(len, said)) <= WIDTH


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_what_each_option_takes(name):
    for taken, text in parameters_of(name):
        assert re.sub(r"\[.*?\]", "", text).strip(), f"{taken} is not explained"
        assert not re.search(r"<[a-z]|list\[|\brange\b|x[<>]=", f"{taken} {text}"), (taken, text)


def lines():
    """All examples; one a command is enough for a first look."""
    for line in dict.fromkeys((*FIRST, *(line for n in COMMANDS for line in examples_of(n)))):
        first = line in {examples_of(name)[0] for name in COMMANDS}
        yield line if first else sweep(line)


@pytest.mark.parametrize("line", [*lines()])
def test_an_example_runs(line, furnished, hub, capsys):
    assert perform(line) == 0, f"{line}\n{capsys.readouterr().err}"
