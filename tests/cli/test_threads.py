"""How many threads work, and that those which wait leave the cores to others."""

import os
import subprocess
import sys

import pytest
import torch

from cfamc_zoo.cli.app import run
from cfamc_zoo.zoo.onnx.cache import open_kept_session
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import open_release

START = """
import os, sys
from cfamc_zoo.cli import app
app.run = lambda arguments: print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
app.main()
"""


@pytest.fixture
def as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given, found):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    done = subprocess.run(
        [sys.executable, "-c", START], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [found, "False"], "set before torch reads it"


@pytest.mark.usefixtures("as_before")
def test_an_attack_has_as_many_threads_as_it_is_given(tiny_release, capsys):
    torch.set_num_threads(1)
    command = ["attack", "-m", str(tiny_release), "--limit", "2", "--steps", "1"]
    assert run([*command, "--threads", "3"]) == 0
    assert torch.get_num_threads() == 3
    torch.set_num_threads(2)
    assert run(command) == 0
    assert torch.get_num_threads() == 2
    assert run([*command, "--threads", "0"]) == 2
    assert "--threads" in capsys.readouterr().err


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("command", [["probe"], ["train", "cf-amc-ssl"]])
def test_no_threads_at_all_are_refused(command, capsys):
    assert run([*command, "--threads", "0"]) == 2
    assert "--threads" in capsys.readouterr().err


def test_waiting_threads_of_onnx_runtime_sleep_too(tiny_release, tmp_path, monkeypatch):
    monkeypatch.setenv("CFAMC_ZOO_CACHE", str(tmp_path))
    release = open_release(tiny_release)
    for opened in (open_session(release, "backbone"), open_kept_session(release, "backbone")):
        options = opened.session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
