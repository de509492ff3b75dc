"""What `--help` says of the commands, which are imported only when they are called."""

import re
from importlib import import_module
from inspect import getdoc

import pytest

from cfamc_zoo.cli.app import COMMANDS, run


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_its_docstrings_first(name):
    function = getattr(import_module(f"cfamc_zoo.cli.commands.{name}"), name)
    assert COMMANDS[name].line == getdoc(function).splitlines()[0]


def test_the_help_has_every_command_whole_under_its_panel(capsys):
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    words = " ".join(said.split())
    for name, entry in COMMANDS.items():
        assert f" {name} {entry.line}" in words
    assert [line[:-1] for line in said.splitlines() if line.endswith(":") and line[0] != " "] == [
        *("Options", "Find", "Use", "Evaluate", "Make", "Help")
    ]
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_has_its_text_and_options(name, capsys):
    assert run([name, "-h"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: cfamc-zoo {name} [OPTIONS]")
    assert COMMANDS[name].line in said
    assert "-h, --help" in said
    if "--model" in said:
        assert re.search(r"\[default: (the smallest|what the file names)\]", " ".join(said.split()))
