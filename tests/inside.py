"""`cfamc-zoo` in this process, for what is not about processes: importing torch takes seconds."""

import io
import os
from contextlib import chdir, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest.mock import patch

from cfamc_zoo.cli.app import run


def cfamc_zoo(*arguments, code=0, cwd=".", env=None):
    """What `subprocess.run` gives for the same command line; its exit code must be `code`."""
    words = [str(a) for a in arguments]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), chdir(cwd), patch.dict(os.environ, env or {}):
        returned = run(words)
    assert returned == code, err.getvalue()
    return CompletedProcess(words, returned, out.getvalue(), err.getvalue())
