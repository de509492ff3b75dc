"""Completion as a shell asks for it: bash really completes, zsh gets the script that it takes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cfamc_zoo.cli.app import COMMANDS
from cfamc_zoo.training.recipe_files import RECIPES
from cfamc_zoo.zoo.catalogue.registry import default_model

VARIABLE = "_CFAMC_ZOO_COMPLETE"


@pytest.fixture
def program(tmp_path):
    """A folder with `cfamc-zoo` in it, for PATH."""
    file = tmp_path / "bin/cfamc-zoo"
    file.parent.mkdir()
    file.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = {sys.path!r}\n"
        "from cfamc_zoo.cli.app import main\ntry:\n    main()\nfinally:\n"
        "    assert 'torch' not in sys.modules\n"
    )
    file.chmod(0o755)
    return file.parent


def environment(program, **more):
    return os.environ | {"PATH": f"{program}:{os.environ['PATH']}"} | more


def script(program, shell):
    done = subprocess.run(
        ["cfamc-zoo"],
        env=environment(program, **{VARIABLE: f"{shell}_source"}),
        executable=str(program / "cfamc-zoo"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


COMPLETE = """
eval "$(_CFAMC_ZOO_COMPLETE=bash_source cfamc-zoo)"
COMP_WORDS=({words} {last!r}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
"$(complete -p cfamc-zoo | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" cfamc-zoo
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(program, words, last):
    """What bash offers for the last word."""
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE.format(words=words, last=last)],
        env=environment(program),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "last", "offered"),
    [
        ("cfamc-zoo", "em", ["embed"]),
        ("cfamc-zoo", "", list(COMMANDS)),
        ("cfamc-zoo embed", "--norm", ["--normalize"]),
        ("cfamc-zoo info", "resnet18-thin-cifar10-f", [default_model()]),
        ("cfamc-zoo embed x -m", "resnet18-thin-cifar10-f", [default_model()]),
        ("cfamc-zoo train", "cf-amc-ssl-t", ["cf-amc-ssl-thin"]),
    ],
)
def test_bash_completes(program, words, last, offered):
    assert completed(program, words, last) == offered


def test_every_recipe_is_offered(program):
    files = {Path(file.name).stem for file in RECIPES.iterdir() if file.name.endswith(".toml")}
    assert set(completed(program, "cfamc-zoo train", "")) >= files


def test_zsh_gets_a_script_that_asks_the_program(program):
    said = script(program, "zsh")
    assert said.lstrip().startswith("#compdef cfamc-zoo")
    assert f"{VARIABLE}=complete_zsh cfamc-zoo" in said
    assert said.rstrip().endswith("compdef _cfamc_zoo_completion cfamc-zoo")
    if zsh := shutil.which("zsh"):
        subprocess.run([zsh, "-n"], input=said, text=True, check=True)
    asked = environment(
        program, **{VARIABLE: "complete_zsh", "_TYPER_COMPLETE_ARGS": "cfamc-zoo em"}
    )
    answer = subprocess.run(
        [program / "cfamc-zoo"], env=asked, capture_output=True, text=True, check=True
    )
    assert '"embed":"' in answer.stdout


def test_fish_gets_one_too(program):
    assert "complete --command cfamc-zoo" in script(program, "fish")


def test_a_plain_command_loads_nothing_of_it():
    code = (
        "import sys\nfrom cfamc_zoo.cli.app import main\nsys.argv = ['cfamc-zoo', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'pydantic', 'cfamc_zoo.training'} & set(sys.modules)\n"
    )
    kept = {key: value for key, value in os.environ.items() if key != VARIABLE}
    subprocess.run([sys.executable, "-c", code], check=True, env=kept, capture_output=True)
